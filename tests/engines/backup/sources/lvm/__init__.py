"""Tests that need a kernel with device-mapper."""
