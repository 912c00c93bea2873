"""Tests of engines/biosiso/bmc."""
