"""A mounted volume of an appliance: metadata in batches, contents in pieces, names as the bytes they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from typing_extensions import override

from engines.backup.files.appliance import extents
from engines.backup.files.appliance.calls import Calls
from engines.backup.files.appliance.tar import Writes, through_pipe
from engines.backup.files.model import BrowseError, Node, Unsupported, Volume, VolumeInfo, shown

PIECE = 2 << 20  # bytes of one pread; a message holds 4 MiB
XFS_ACL = "trusted.SGI_ACL_"  # how XFS stores, and shows once more, what system.posix_acl_* is
FIRST, BATCH = 100, 1000  # names asked about at once: few for a first screen, then many
RUN = 4096  # bytes; the finest hole that is found by reading


class GuestfsVolume(Volume):
    """See Volume. `tar_out` besides gives a whole tree at once."""

    driver = "libguestfs"

    def __init__(
        self,
        disk: Calls,
        info: VolumeInfo,
        state: str,
        default: bytes = b"",
        subvolumes: Mapping[int, bytes] = MappingProxyType({}),
    ) -> None:
        self.info = info
        self.state = state
        self.default = default
        self.subvolumes = subvolumes
        self._disk = disk
        self._root = b"/" + info.name.encode()
        self._memory = os.memfd_create("guest-read")
        self._into = f"/proc/{os.getpid()}/fd/{self._memory}"
        self._devices: list[int] = []
        self._regular: tuple[bytes, Node] | None = None

    def _within(self, path: bytes) -> bytes:
        return self._root + (path if path != b"/" else b"")

    def _node(self, row: list[Any], name: bytes) -> Node:
        inode, mode, size, uid, gid, links, mtime, atime, ctime, allocated, rdev, device, link = row[1:]
        if device not in self._devices:
            self._devices.append(device)
        return Node(
            name=name,
            # btrfs counts inodes anew in every subvolume, which has a device number of its own
            inode=inode + (self._devices.index(device) << 48),
            mode=mode,
            size=size,
            uid=uid,
            gid=gid,
            links=links,
            mtime=mtime,
            atime=atime,
            ctime=ctime,
            allocated=allocated,
            link=link.encode("latin-1"),
            device=(os.major(rdev), os.minor(rdev)) if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else (0, 0),
        )

    @override
    def stat(self, path: bytes) -> Node:
        row = self._disk.bytewise(path, "node", self._within(path))
        return self._node(row, path.rpartition(b"/")[2])

    @override
    def list(self, path: bytes) -> Iterator[Node]:
        """Names at once, the rest in batches as it is asked for."""
        folder = self._within(path)
        names = [each.encode("latin-1") for each in self._disk.bytewise(path, "names", folder)]
        at, count = 0, FIRST
        while at < len(names):
            rows = self._disk.bytewise(path, "nodes", folder, names[at : at + count])
            yield from (self._node(row, row[0].encode("latin-1")) for row in rows)
            at, count = at + count, BATCH

    @override
    def read(self, path: bytes, offset: int, length: int) -> bytes:
        node = self._file(path)
        end = min(offset + length, node.size)
        parts = []
        while offset < end:
            piece = self._piece(path, offset, min(PIECE, end - offset))
            if not piece:
                break
            parts.append(piece)
            offset += len(piece)
        return b"".join(parts)

    def _file(self, path: bytes) -> Node:
        """A pipe would block the appliance, a device node is one of its own: only regular files are read."""
        if self._regular is None or self._regular[0] != path:
            node = self.stat(path)
            if not node.is_file:
                raise BrowseError(f"{shown(path)}: it is no regular file")
            self._regular = path, node
        return self._regular[1]

    def _piece(self, path: bytes, offset: int, length: int) -> bytes:
        """Through memory that the worker opens: the line between carries text."""
        with self._disk.asking(path):
            count = self._disk.bytewise(path, "read", self._within(path), length, offset, self._into.encode())
            return os.pread(self._memory, count, 0)

    @override
    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        """Exact to the block where the file system maps its files (ext, XFS, btrfs, f2fs), and all of a
        file that is stored whole; elsewhere what reads as 4 KiB of zeros counts as a hole.
        """
        node = self._file(path)
        if not node.size:
            return
        if node.allocated is not None and node.allocated >= node.size:
            yield 0, node.size
            return
        mapped = extents.mapped(self._disk, self._within(path), self.info.format, node.allocated)
        found = self._runs(path, node.size) if mapped is None else iter(mapped)
        for start, end in found:
            if start < node.size:
                yield start, min(end, node.size)

    def _runs(self, path: bytes, size: int) -> Iterator[tuple[int, int]]:
        start: int | None = None
        for at in range(0, size, PIECE):
            piece = self._piece(path, at, min(PIECE, size - at))
            for inner in range(0, len(piece), RUN):
                empty = not piece[inner : inner + RUN].strip(b"\0")
                if empty and start is not None:
                    yield start, at + inner
                    start = None
                elif not empty and start is None:
                    start = at + inner
        if start is not None:
            yield start, size

    @override
    def attributes(self, path: bytes) -> dict[str, bytes]:
        try:
            found = self._disk.bytewise(path, "attributes", self._within(path))
        except Unsupported:
            return {}
        names = {name: value.encode("latin-1") for name, value in found.items()}
        plain = {name.encode("latin-1").decode("utf-8", "surrogateescape"): names[name] for name in names}
        return {name: value for name, value in plain.items() if not name.startswith(XFS_ACL)}

    def tar_out(self, path: bytes, stream: Writes) -> None:
        """A tar of what is below the folder `path`: numeric owners, xattrs, ACLs and SELinux labels, holes as zeros.

        The appliance answers nobody else meanwhile. Raises what reading raises; `stream` then ends early.
        """
        through_pipe(
            self._disk.folder,
            lambda pipe: self._disk.bytewise(path, "archive", self._within(path), pipe),
            stream,
        )

    @override
    def close(self) -> None:
        """It stays mounted until the disk is closed, and is quick to open again."""

    def forget(self) -> None:
        """The disk is closed."""
        os.close(self._memory)
