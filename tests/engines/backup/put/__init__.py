"""Tests of engines/backup/put."""
