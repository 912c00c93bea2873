"""Tests of engines/backup/commands."""
