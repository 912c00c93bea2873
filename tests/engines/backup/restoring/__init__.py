"""Tests of engines/backup/restoring."""
