"""Tests of engines/backup/files/mounting."""
