"""Tests of engines/fleet."""
