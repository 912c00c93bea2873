"""A POSIX pax archive as a stream: any name, any size, ns times, attributes, hard links, and holes as GNU tar does.

Formats: POSIX.1-2001 pax headers; SCHILY.xattr.* and GNU.sparse.* 1.0 as in the manual of GNU tar, "Sparse Formats".
"""

from __future__ import annotations

import stat
import struct
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engines.backup.files.model import Node
from engines.job.errors import Failed

BLOCK = 512  # bytes
RECORD = 10240  # bytes; an archive is a multiple of it
ZEROS = 1 << 20  # bytes written at once
WORTH = 4096  # bytes of holes in a file that make it worth a map
NANO = 10**9
FURTHEST = (1 << 40) * NANO  # ns from 1970; a damaged inode may name any time
TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
ACLS = {
    b"system.posix_acl_access": "SCHILY.acl.access",
    b"system.posix_acl_default": "SCHILY.acl.default",
}
TAGS = {
    0x01: ("user", False),
    0x02: ("user", True),
    0x04: ("group", False),
    0x08: ("group", True),
    0x10: ("mask", False),
    0x20: ("other", False),
}  # linux/posix_acl.h
Spans = list[tuple[int, int]]
Read = Callable[[Spans], Iterable[tuple[int, bytes]]]


@dataclass(frozen=True)
class Member:
    """One file: its name in the archive; `twin` is the name of the file that it is another name of."""

    name: bytes
    node: Node
    mode: int
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)
    twin: bytes = b""


class Archive:
    """Written front to back by `write`. Raises what that raises.

    words: ACLs in words too, as GNU tar, bsdtar and star read them; else as the attributes that they are on Linux.
    pads: where a file's content ends early, zeros follow, so that the archive stays whole; the error is raised after.
    """

    def __init__(self, write: Callable[[bytes], object], *, words: bool = True, pads: bool = True) -> None:
        self._write = write
        self._words = words
        self._pads = pads
        self._length = 0

    def _put(self, content: bytes) -> None:
        self._write(content)
        self._length += len(content)

    def _pad(self, to: int) -> None:
        self._put(bytes(-self._length % to))

    def head(self, member: Member) -> None:
        """A file without content."""
        self._put(_encoded(self._info(member)))

    def file(self, member: Member, extents: Iterable[tuple[int, int]], read: Read) -> Iterator[int]:
        """A file with its content, `read` giving offset and bytes of its spans; gives each piece's length."""
        info, size = self._info(member), member.node.size
        spans = sane(extents, size)
        kept = sum(end - start for start, end in spans)
        table = b""
        if size - kept < WORTH:
            spans, kept = [(0, size)] if size else [], size
        else:
            table = _table(spans, size)
            above, slash, base = info.name.rpartition("/")
            sparse = {"major": "1", "minor": "0", "name": info.name, "realsize": str(size)}
            info.pax_headers = {**info.pax_headers, **{f"GNU.sparse.{key}": value for key, value in sparse.items()}}
            info.name = f"{above}{slash}GNUSparseFile.0/{base}"
        info.size = len(table) + kept
        self._put(_encoded(info) + table)
        yield from self._content(kept, read(spans))

    def _content(self, kept: int, pieces: Iterable[tuple[int, bytes]]) -> Iterator[int]:
        done = 0
        try:
            for _, piece in pieces:
                self._put(piece)
                done += len(piece)
                yield len(piece)
        except Failed:
            if self._pads:
                self._zeros(kept - done)
            raise
        self._zeros(kept - done)

    def _zeros(self, count: int) -> None:
        for at in range(0, count, ZEROS):
            self._put(bytes(min(ZEROS, count - at)))
        self._pad(BLOCK)

    def end(self) -> None:
        """The end mark."""
        self._put(bytes(2 * BLOCK))
        self._pad(RECORD)

    def _info(self, member: Member) -> tarfile.TarInfo:
        node = member.node
        info = tarfile.TarInfo(text(member.name))
        info.type = tarfile.LNKTYPE if member.twin else TYPES[stat.S_IFMT(node.mode)]
        info.mode, info.uid, info.gid = member.mode, node.uid, node.gid
        info.linkname = text(member.twin or node.link)
        if stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
            info.devmajor, info.devminor = node.device
        times = {"mtime": _seconds(node.mtime), "atime": _seconds(node.atime)}
        info.pax_headers = times | dict(self._attribute(key, value) for key, value in member.attributes.items())
        return info

    def _attribute(self, name: bytes, value: bytes) -> tuple[str, str]:
        """A pax header; a keyword ends at its first =, which GNU tar writes and reads as %3D."""
        if name in ACLS and self._words:
            return ACLS[name], _acl(value)
        return "SCHILY.xattr." + text(name.replace(b"%", b"%25").replace(b"=", b"%3D")), text(value)


def text(name: bytes) -> str:
    """A name or value as tarfile takes it; what is no UTF-8 comes out as it went in."""
    return name.decode("utf-8", "surrogateescape")


def holds(node: Node) -> bool:
    """Whether an archive can hold such a file at all: no sockets."""
    return stat.S_IFMT(node.mode) in TYPES


def sane(extents: Iterable[tuple[int, int]], size: int) -> Spans:
    """Extents ascending, apart and within the file, whatever a damaged file system says."""
    found: Spans = []
    at = 0
    for start, stop in extents:
        start, stop = max(start, at), min(stop, size)
        if start >= stop:
            continue
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
        at = stop
    return found


def _acl(value: bytes) -> str:
    """The kernel's form of an ACL (linux/posix_acl_xattr.h) as text; ids as numbers."""
    words = []
    for tag, bits, number in struct.iter_unpack("<HHI", value[4 : len(value) - (len(value) - 4) % 8]):
        kind, named = TAGS.get(tag, ("other", False))
        may = "".join(letter if bits & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        words.append(f"{kind}:{number if named else ''}:{may}")
    return ",".join(words)


def _encoded(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _seconds(moment: int) -> str:
    """Nanoseconds as decimal seconds, before 1970 too."""
    whole, rest = divmod(min(abs(moment), FURTHEST), NANO)
    return f"{'-' if moment < 0 else ''}{whole}.{rest:09d}"


def _table(spans: Spans, size: int) -> bytes:
    """Where the data lies (GNU sparse format 1.0), a whole number of blocks; the last entry names the end."""
    rows = [*((start, end - start) for start, end in spans), (size, 0)]
    lines = f"{len(rows)}\n" + "".join(f"{start}\n{length}\n" for start, length in rows)
    return lines.encode().ljust(-(-len(lines) // BLOCK) * BLOCK, b"\0")
