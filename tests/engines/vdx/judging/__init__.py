"""Tests of engines/vdx/judging."""
