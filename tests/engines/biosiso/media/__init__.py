"""Tests of engines/biosiso/media."""
