"""Disks of a running QEMU."""
