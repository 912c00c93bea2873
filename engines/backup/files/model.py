"""What a file in a restore point is, and what every driver of a file system gives.

Paths are bytes, absolute within the volume, without `.`, `..`, doubled or trailing slashes; the root is b"/".
Names come from the guest: they are hostile, and go to a screen only through `shown`.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec

from engines.job.errors import Failed

NOT_REPLAYED = "journal not replayed"  # a Volume's state, and what a look says of it before


class DiskBytes(Protocol):
    """A disk as bytes; `read` may be called by any number of threads and gives less only at the end."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`."""
        ...


class BrowseError(Failed):
    """The file system does not give what was asked for; the text names the path and what is wrong with it."""


class Unsupported(BrowseError):
    """This driver cannot carry that; another may."""


class NoSuchFile(BrowseError):
    """There is nothing at that path."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `mode` is st_mode with its type bits; times in ns since 1970; sizes in bytes.

    inode: equal for hard links of one file. allocated: bytes on disk, None where the driver does not know.
    link: a symbolic link's target as stored. device: (major, minor) of a device node.
    """

    name: bytes
    inode: int
    mode: int
    size: int
    uid: int = 0
    gid: int = 0
    links: int = 1
    mtime: int = 0
    atime: int = 0
    ctime: int = 0
    allocated: int | None = None
    link: bytes = b""
    device: tuple[int, int] = (0, 0)

    @property
    def is_folder(self) -> bool:
        """Whether it can be listed."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it has bytes to read."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


class VolumeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A file system on the disk, before it is opened.

    name: unique on the disk, a path component: `p1`, `vg0-root`, or `disk` where the whole disk is one.
    format: ext4, xfs, btrfs, ntfs, vfat …, `lvm2`, `luks`, `swap`; empty for unknown. offset, size: bytes on the disk.
    dirty: why what is on the disk is not the whole truth, such as "journal not replayed"; empty for clean.
    cut: how much of it lies beyond the end of its disk; empty for none.
    drivers: those that can serve it, the preferred first; empty for none. partuuid, partlabel: of its partition.
    subvolume: of btrfs, the folder of the volume `within` that this one is, as `shown` gives it; else both are empty.
    """

    name: str
    format: str
    offset: int
    size: int
    label: str = ""
    uuid: str = ""
    dirty: str = ""
    cut: str = ""
    drivers: tuple[str, ...] = ()
    partuuid: str = ""
    partlabel: str = ""
    within: str = ""
    subvolume: str = ""

    @property
    def state(self) -> str:
        """All that is wrong with it, in words; empty for nothing."""
        return "; ".join(filter(None, (self.cut, self.dirty)))


class Volume(Protocol):
    """An opened file system. `driver` is `quick` or `libguestfs`; `state` says on the screen what was done about
    its journal: "" for clean, "journal replayed", "journal not replayed". default: on btrfs the folder of the
    subvolume that is mounted where none is named. subvolumes: there, the folder of each by its id.

    Every method raises NoSuchFile, Unsupported, BrowseError; Damaged and Missing where the backup is the culprit.
    """

    info: VolumeInfo
    driver: str
    state: str
    default: bytes = b""
    subvolumes: Mapping[int, bytes] = MappingProxyType({})

    def stat(self, path: bytes) -> Node:
        """The node at `path`, not following a link in its last component (nor in any: the tree resolves those)."""
        ...

    def list(self, path: bytes) -> Iterator[Node]:
        """The entries of a folder, without `.` and `..`, in the file system's order, as they are found."""
        ...

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        """Bytes of a regular file; less only at its end; zeros in a hole."""
        ...

    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        """Where a file holds data, ascending, as (start, end) in bytes; the rest are holes."""
        ...

    def attributes(self, path: bytes) -> dict[str, bytes]:
        """Extended attributes with their namespaces, ACLs as system.posix_acl_*. Raises Unsupported."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def shown(name: bytes) -> str:
    """A hostile name for a screen or a line: control and undecodable bytes as \\xNN, backslash doubled."""
    text = name.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def parsed(text: str) -> bytes:
    """The path that `shown` printed, or that a technician typed; made absolute, `.` and `..` resolved by name."""
    parts: list[bytes] = []
    for part in unescaped(text).split(b"/"):
        if part == b"..":
            parts = parts[:-1]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


def unescaped(text: str) -> bytes:
    """What `shown` made of a name or a path, as it was."""
    return re.sub(rb"\\(\\|x[0-9a-fA-F]{2})", _unescaped, text.encode("utf-8", "surrogateescape"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return b"\\" if found[1] == b"\\" else bytes([int(found[1][1:], 16)])


def join(folder: bytes, name: bytes) -> bytes:
    """The path of an entry."""
    return folder.rstrip(b"/") + b"/" + name


def proper(name: bytes) -> bool:
    """Whether a guest's name can be one folder entry at all."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name
