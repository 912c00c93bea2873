"""Tests of engines/backup/capture."""
