"""Tests of engines/biosiso/vendor."""
