"""Headless engines of crashcart: usable from any script, no screen needed."""
