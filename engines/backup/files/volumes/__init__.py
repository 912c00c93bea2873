"""Partitions and file systems are read from their bytes in this process, with neither root nor mount."""
