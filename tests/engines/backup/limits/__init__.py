"""Tests of engines/backup/limits."""
