"""Tests of engines/backup/guests."""
