"""Tests of engines/biosiso/build."""
