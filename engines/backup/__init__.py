"""Block-level backups of disks, read at the speed of the device into a repository that is never re-read."""
