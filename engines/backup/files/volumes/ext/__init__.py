"""ext2, ext3 and ext4 read from their bytes, every pointer checked before it is followed."""
