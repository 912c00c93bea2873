"""FAT12, FAT16, FAT32 and exFAT, read here: the library at hand cuts long names, and hides names that begin with $."""
