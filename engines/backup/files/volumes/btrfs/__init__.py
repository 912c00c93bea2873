"""btrfs as far as its subvolumes go: read from its trees, without a kernel; its files are the appliance's."""
