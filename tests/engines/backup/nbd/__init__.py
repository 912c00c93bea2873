"""Tests of engines/backup/nbd."""
