"""A disk image under surgery: opened through an appliance, changed on an overlay, committed whole or not at all."""
