"""Bootable media are made byte for byte, and read back."""
