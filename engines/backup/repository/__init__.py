"""What FORMAT.md describes: records, packs, index, points, sessions and keys, read and written."""
