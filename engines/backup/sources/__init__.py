"""What is backed up: disks that are read and never written."""
