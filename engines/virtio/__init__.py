"""Moves an old guest from an emulated or Xen disk to virtio, proves that it boots, and can take it back."""
