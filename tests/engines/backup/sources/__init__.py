"""Tests of engines/backup/sources."""
