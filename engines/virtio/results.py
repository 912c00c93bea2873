"""What the runs of virtio give as their result."""

from __future__ import annotations

import msgspec


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Of every run that writes an image.

    initrds: rebuilt ones by kernel version, paths in the guest. boot_test: what was seen; empty without one.
    lacks_as_before, lacks_anew: what the booted guest is without, split by a boot of it as it was.
    bytes_changed: of the image. undo_log: a folder of the run, which `undo` needs. new_image: where one was made, the
    image itself was not written.
    """

    initrds: dict[str, str] = {}
    boot_test: str = ""
    lacks_as_before: list[str] = []
    lacks_anew: list[str] = []
    bytes_changed: int = 0
    undo_log: str = ""
    new_image: str = ""
