"""A throwaway writable layer over what an NBD server serves: a guest or an appliance writes, and nothing is changed."""

from __future__ import annotations

import json
from pathlib import Path

from engines.guest.target import qemu_img


def lay(socket: Path, overlay: Path) -> Path:
    """A qcow2 image at `overlay` over the disk served at `socket`; nothing is copied. Raises Refused."""
    served = {"driver": "nbd", "server": {"type": "unix", "path": str(socket)}}
    below = "json:" + json.dumps({"driver": "raw", "file": served})
    qemu_img("create", "-q", "-f", "qcow2", "-b", below, "-F", "raw", str(overlay))
    return overlay
