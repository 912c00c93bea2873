"""Tests of engines/vdx/line."""
