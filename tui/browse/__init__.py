"""Restore points on the screen: which repository, which disk, which moment, and the files in it."""
