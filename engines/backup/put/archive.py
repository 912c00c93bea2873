"""Files of a restore point as a pax archive that GNU tar unpacks with times to the nanosecond, attributes and holes.

Formats: POSIX.1-2001 pax headers; SCHILY.xattr.* and GNU.sparse.* 1.0 as in the manual of GNU tar, "Sparse Formats".
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engines.backup.files.model import BrowseError, Node, shown

PIECE = 1 << 20  # bytes read at a time
RECORD = 512
WORTH = 4096  # bytes of holes in a file that make it worth a map
NANO = 10**9
FURTHEST = (1 << 40) * NANO  # ns from 1970; a damaged inode may name any time
KINDS = {
    stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFREG: tarfile.REGTYPE,
}  # fmt: skip

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Member:
    """One file: where it goes, without a leading slash; `hard` is the place of the file that it is another name of."""

    place: bytes
    node: Node
    hard: bytes = b""
    attributes: Mapping[str, bytes] = field(default_factory=dict)


def head(member: Member) -> bytes:
    """All there is of anything but a regular file with bytes in it."""
    return _info(member, {}).tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def file(member: Member, extents: Iterable[tuple[int, int]], read: Read) -> Iterator[bytes]:
    """A regular file: its header, then its bytes. Raises BrowseError where the file system gives fewer."""
    size = member.node.size
    data = sane(extents, size)
    held = sum(end - start for start, end in data)
    if size - held < WORTH:
        info = _info(member, {})
        info.size = size
        data, table = [(0, size)], b""
    else:
        table = _table(data, size)
        sparse = {"major": "1", "minor": "0", "name": _text(member.place), "realsize": str(size)}
        info = _info(member, {f"GNU.sparse.{name}": value for name, value in sparse.items()})
        info.name = f"GNUSparseFile.0/{info.name}"
        info.size = held + len(table)
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + table
    for start, end in data:
        yield from _bytes(member, start, end, read)
    yield bytes(-info.size % RECORD)


def end() -> bytes:
    """What ends an archive."""
    return bytes(2 * RECORD)


def sane(extents: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Extents ascending, apart and within the file, whatever a damaged file system says."""
    found: list[tuple[int, int]] = []
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


def _bytes(member: Member, start: int, stop: int, read: Read) -> Iterator[bytes]:
    while start < stop:
        piece = read(start, min(PIECE, stop - start))
        if not piece:
            raise BrowseError(
                f"{shown(b'/' + member.place)} ends at byte {start} of {member.node.size}", "take it from another point"
            )
        yield piece
        start += len(piece)


def _table(data: list[tuple[int, int]], size: int) -> bytes:
    rows = [*((start, stop - start) for start, stop in data), (size, 0)]
    text = f"{len(rows)}\n" + "".join(f"{start}\n{length}\n" for start, length in rows)
    return text.encode().ljust(-(-len(text) // RECORD) * RECORD, b"\0")


def _info(member: Member, more: dict[str, str]) -> tarfile.TarInfo:
    node = member.node
    info = tarfile.TarInfo(_text(member.place))
    info.type = tarfile.LNKTYPE if member.hard else KINDS[stat.S_IFMT(node.mode)]
    info.mode = stat.S_IMODE(node.mode)
    info.uid, info.gid = node.uid, node.gid
    info.linkname = _text(member.hard or node.link)
    if stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
        info.devmajor, info.devminor = node.device
    info.pax_headers = {"mtime": _seconds(node.mtime), "atime": _seconds(node.atime), **more}
    if not member.hard:
        for name, value in member.attributes.items():
            info.pax_headers[f"SCHILY.xattr.{name.replace('=', '%3D')}"] = _text(value)
    return info


def _seconds(time: int) -> str:
    """Nanoseconds as decimal seconds, before 1970 too."""
    whole, rest = divmod(min(abs(time), FURTHEST), NANO)
    return f"{'-' if time < 0 else ''}{whole}.{rest:09}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
