"""A read-only NBD server over any source of bytes, for QEMU, libguestfs, nbd-client and nbdcopy."""
