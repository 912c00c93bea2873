"""Volumes that only a Linux kernel reads are served by libguestfs, on a layer that is thrown away."""
