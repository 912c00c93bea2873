"""Tests of engines/backup/store."""
