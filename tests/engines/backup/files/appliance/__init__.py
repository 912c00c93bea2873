"""Tests of engines/backup/files/appliance."""
