"""QEMU as a witness: boots a disk or disc and tells what its screen and serial line really showed."""
