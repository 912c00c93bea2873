"""What this machine has at work: devices, open files, mounts, processes; and files written whole."""
