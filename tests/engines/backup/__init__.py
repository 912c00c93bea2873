"""Tests of the backup task."""
