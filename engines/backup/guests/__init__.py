"""The guests of this host with their disks, and why one cannot be backed up."""
