"""Tests of engines/vdx/fix."""
