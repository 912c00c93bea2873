"""A bootable DOS disc for a SuperMicro BIOS update, checked before it is there."""
