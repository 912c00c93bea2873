"""Disks of a running QEMU, read in one moment through QEMU itself."""
