"""Tests of engines/backup/repository."""
