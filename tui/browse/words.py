"""Files, sizes and times in columns of fixed width; no byte of a guest's name reaches the line unescaped."""

from __future__ import annotations

import stat
import time

from engines.backup.files.model import Node, shown

COLUMNS = f"{'mode':<10} {'size':>6} {'modified, UTC':<16} name"
UNITS = "KMGTPE"


def line(node: Node, *, marked: bool = False, name: str = "") -> str:
    """`* -rw-r--r--  12.3K 2026-11-22 08:23 name -> target`; `name` stands in for the node's own."""
    return f"{'*' if marked else ' '} {stat.filemode(node.mode)} {extent(node):>6} {moment(node)} {name or named(node)}"


def named(node: Node) -> str:
    """The name, with / behind a folder's and the target behind a link's."""
    if node.is_link:
        return f"{shown(node.name)} -> {shown(node.link)}"
    return shown(node.name) + ("/" if node.is_folder else "")


def extent(node: Node) -> str:
    """The size of a file, the numbers of a device, nothing for what has neither."""
    if stat.S_ISBLK(node.mode) or stat.S_ISCHR(node.mode):
        return f"{node.device[0]},{node.device[1]}"
    return brief(node.size) if node.is_file else ""


def brief(count: int) -> str:
    """Bytes in at most six cells: 812, 12.3K, 4.0G."""
    if count < 10000:
        return str(count)
    size = float(count)
    for unit in UNITS:
        size /= 1024
        if size < 999.95:
            return f"{size:.1f}{unit}"
    return f"{size:.0f}{unit}"


def moment(node: Node) -> str:
    """When its content was modified, UTC, 16 cells; a time that no calendar has as ?."""
    return when(node.mtime // 1_000_000_000)


def when(seconds: int) -> str:
    """Unix time in 16 cells."""
    try:
        told = time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?".ljust(16)
    return told if len(told) == 16 else "?".ljust(16)


def tail(text: str, width: int) -> str:
    """`text` in `width` cells at most: its end says more than its beginning."""
    return text if len(text) <= width else "~" + text[1 - width :]
