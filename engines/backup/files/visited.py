"""Which folders a walk has been in: in a damaged file system a folder may hold its own parent."""

from __future__ import annotations

from collections.abc import Hashable

from engines.backup.files.model import Node, Volume

DEEPEST = 2000  # folders within one another; a path of that many is no real one, and loops end


def identity(volume: Volume | None, node: Node | None, mount: bytes = b"") -> Hashable | None:
    """What tells a folder from all others; None where nothing does: the kernel behind libguestfs has many inodes of
    one number, and sees to circles itself. mount: where the guest mounts it, which it may do twice."""
    if volume is None or node is None or not node.inode or volume.driver == "libguestfs":
        return None
    return mount, volume.info.name, node.inode


class Visited:
    """Folders, or pairs of them, by identity."""

    def __init__(self) -> None:
        self._met: set[tuple[Hashable | None, ...]] = set()

    def trouble(self, depth: int, *folder: Hashable | None) -> str:
        """Why it is not gone into, for a line that begins with its path; empty where a walk may."""
        if depth >= DEEPEST:
            return "lies too deep to be real and is not gone into"
        if not any(folder):
            return ""
        if folder in self._met:
            return "is a folder that was met before: a circle, and is not gone into"
        self._met.add(folder)
        return ""
