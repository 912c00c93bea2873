"""What takes files out of points, mounts and compares them."""
