"""Tests of engines/backup/files/volumes."""
