"""Tests of engines/backup/upkeep."""
