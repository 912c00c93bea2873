"""Rehearsal guests: old Linux disks, made in seconds, that really boot from IDE and really panic on virtio."""
