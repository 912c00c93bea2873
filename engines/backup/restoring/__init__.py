"""A point is written onto a file or device, or held against one, block by block."""
