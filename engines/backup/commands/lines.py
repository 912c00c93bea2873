"""Files as lines for people, in the manner of ls -l, and as plain data for programs."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator, Sequence

import msgspec

from engines.backup.files.model import Node, shown


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file as plain data. Names are as `shown` writes them; mtime is ISO 8601 in UTC with all it has."""

    path: str
    type: str
    mode: str
    uid: int
    gid: int
    size: int
    links: int
    mtime: str
    link: str = ""


TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def entry(path: bytes, node: Node) -> Entry:
    """A node at `path`, or at its bare name."""
    return Entry(
        path=shown(path),
        type=TYPES.get(stat.S_IFMT(node.mode), "damaged"),
        mode=f"{stat.S_IMODE(node.mode):04o}",
        uid=node.uid,
        gid=node.gid,
        size=node.size,
        links=node.links,
        mtime=_time(node.mtime),
        link=shown(node.link),
    )


def line(path: bytes, node: Node) -> str:
    """One line; a device has its numbers where others have a size."""
    mode = stat.filemode(node.mode) if node.mode else "?damaged??"
    size = f"{node.device[0]},{node.device[1]}" if stat.S_IFMT(node.mode) in (0x2000, 0x6000) else str(node.size)
    arrow = f" -> {shown(node.link)}" if node.is_link else ""
    when = _time(node.mtime)[:16].replace("T", " ")
    return f"{mode} {node.uid:>5} {node.gid:>5} {size:>13} {when} {shown(path)}{arrow}"


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
    except (OverflowError, ValueError, OSError):
        return "0000-00-00T00:00:00Z"


def size(count: int) -> str:
    """A volume's size."""
    return f"{count / 1073741824:.1f} GiB" if count >= 1073741824 else f"{count / 1048576:.1f} MiB"


def columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))] if rows else []
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
