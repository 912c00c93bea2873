"""A libvirt guest whole: which disks it has, and its description, NVRAM and TPM state beside them."""
