"""Tests of engines/backup/files/taking."""
