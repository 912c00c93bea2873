"""NTFS read from its bytes, every pointer checked before it is followed."""
