"""A tree is shown as a read-only FUSE mount until it is unmounted."""
