"""How fast a disk may be read is found out, and held by the kernel where it can."""
