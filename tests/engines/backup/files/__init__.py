"""Tests of the browser of restore points."""
