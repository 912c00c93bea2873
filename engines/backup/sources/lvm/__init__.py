"""Snapshots of LVM volumes as sources: made, tagged, watched, and always removed."""
