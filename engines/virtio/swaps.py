"""systemd's .swap units: each is called by its device, so that one of the old disk becomes a new file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engines.guest.system import System
from engines.virtio.lines import tables
from engines.virtio.lines.disks import Disks

SWAP = re.compile(r"/etc/systemd/system/([^/]+)\.swap")
WANTED = re.compile(r"(/etc/systemd/system/[^/]+)\.wants/([^/]+\.swap)")
REQUIRED = re.compile(r"/etc/systemd/system/[^/]+\.requires/([^/]+\.swap)")


def renamed(system: System, disks: Disks) -> Iterator[tuple[str, bytes | None, bytes | None]]:
    """(path, before, after): the old unit goes, the new one comes, and what wanted the old one wants the new.

    One that another unit requires stays: without it that unit would not start.
    """
    kept = {found[1] for path in (*system.links, *system.etc) if (found := REQUIRED.fullmatch(path))}
    for path, content in sorted(system.etc.items()):
        if not (found := SWAP.fullmatch(path)) or f"{found[1]}.swap" in kept:
            continue
        name = disks.unit(found[1])
        if name == found[1]:
            continue
        text = tables.unit(content.decode("latin-1"), disks)
        yield path, content, None
        new = path.replace(found[1], name)
        yield new, system.etc.get(new), text.encode("latin-1")
        for dropped in sorted(each for each in system.etc if each.startswith(f"{path}.d/")):
            beside = dropped.replace(path, new, 1)
            yield dropped, system.etc[dropped], None
            yield (
                beside,
                system.etc.get(beside),
                tables.unit(system.etc[dropped].decode("latin-1"), disks).encode("latin-1"),
            )
        for link in sorted(system.links):
            if (wants := WANTED.fullmatch(link)) and wants[2] == f"{found[1]}.swap":
                yield f"{wants[1]}.d/10-crashcart-{name}.conf", None, f"[Unit]\nWants={name}.swap\n".encode()
