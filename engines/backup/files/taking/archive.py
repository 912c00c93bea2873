"""A POSIX pax archive as a stream: any name, any size, ns times, attributes, hard links, and holes as GNU tar does."""

from __future__ import annotations

import stat
import struct
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from engines.backup.files.model import Node

BLOCK = 512  # bytes
RECORD = 10240  # bytes; an archive is a multiple of it
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


class Archive:
    """Written to `stream`, front to back. Raises OSError."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._length = 0

    def _put(self, content: bytes) -> None:
        self._stream.write(content)
        self._length += len(content)

    def _pad(self, to: int) -> None:
        self._put(bytes(-self._length % to))

    def head(self, name: bytes, node: Node, mode: int, attributes: dict[bytes, bytes], *, twin: bytes = b"") -> None:
        """A file without content; `twin` names the file that it is another name of."""
        info = _info(name, node, mode, attributes)
        if twin:
            info.type, info.linkname = tarfile.LNKTYPE, text(twin)
        self._put(_encoded(info))

    def file(
        self,
        name: bytes,
        node: Node,
        mode: int,
        attributes: dict[bytes, bytes],
        spans: Spans,
        pieces: Iterable[tuple[int, bytes]],
    ) -> Iterator[int]:
        """A file with its content; gives each piece's length. Where `pieces` end early or raise, zeros follow."""
        info = _info(name, node, mode, attributes)
        kept = sum(end - start for start, end in spans)
        table = b""
        if kept < node.size:
            table = _table(spans, node.size)
            above, slash, base = info.name.rpartition("/")
            info.pax_headers = {
                **info.pax_headers,
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": info.name,
                "GNU.sparse.realsize": str(node.size),
            }
            info.name = f"{above}{slash}GNUSparseFile.0/{base}"
        info.size = len(table) + kept
        self._put(_encoded(info) + table)
        done = 0
        try:
            for _, piece in pieces:
                self._put(piece)
                done += len(piece)
                yield len(piece)
        finally:
            while done < kept:
                part = min(kept - done, 1 << 20)
                self._put(bytes(part))
                done += part
            self._pad(BLOCK)

    def end(self) -> None:
        """The end mark."""
        self._put(bytes(2 * BLOCK))
        self._pad(RECORD)


def text(name: bytes) -> str:
    """A name or value as tarfile takes it; what is no UTF-8 comes out as it went in."""
    return name.decode("utf-8", "surrogateescape")


def _info(name: bytes, node: Node, mode: int, attributes: dict[bytes, bytes]) -> tarfile.TarInfo:
    info = tarfile.TarInfo(text(name))
    info.type = TYPES[stat.S_IFMT(node.mode)]
    info.mode, info.uid, info.gid = mode, node.uid, node.gid
    info.linkname = text(node.link)
    info.devmajor, info.devminor = node.device
    times = {"mtime": _seconds(node.mtime), "atime": _seconds(node.atime)}
    info.pax_headers = times | dict(_attribute(key, value) for key, value in attributes.items())
    return info


def _attribute(name: bytes, value: bytes) -> tuple[str, str]:
    """A pax header: ACLs in words, as GNU tar, bsdtar and star read them."""
    if name in ACLS:
        return ACLS[name], _acl(value)
    return "SCHILY.xattr." + text(name), text(value)


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
    sign, moment = ("-", -moment) if moment < 0 else ("", moment)
    return f"{sign}{moment // 10**9}.{moment % 10**9:09d}"


def _table(spans: Spans, size: int) -> bytes:
    """Where the data lies (GNU sparse format 1.0), a whole number of blocks; the last entry names the end."""
    listed = [*((start, end - start) for start, end in spans), (size, 0)]
    lines = "\n".join([str(len(listed)), *(f"{start}\n{length}" for start, length in listed)]) + "\n"
    return lines.encode().ljust(-(-len(lines) // BLOCK) * BLOCK, b"\0")


def holds(node: Node) -> bool:
    """Whether an archive can hold such a file at all: no sockets."""
    return stat.S_IFMT(node.mode) in TYPES
