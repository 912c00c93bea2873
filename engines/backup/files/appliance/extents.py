"""Where a file in an appliance holds data, by the file system's own map of it."""

from __future__ import annotations

import re

from engines.backup.files.appliance.calls import Calls
from engines.backup.files.model import BrowseError
from engines.backup.files.ranges import joined

EXTENT = re.compile(rb"^ *\d+: *(\d+)\.\. *(\d+)$", re.MULTILINE)
BLOCKS = re.compile(rb"^File size of /proc/self/fd/0 is .* of (\d+) bytes\)$", re.MULTILINE)


def mapped(disk: Calls, path: bytes) -> list[tuple[int, int]] | None:
    """Ascending (start, end) in bytes by FIEMAP, unwritten extents left out; `path` is the appliance's.

    None where the file system gives no map, or one that is longer than a message (some 100,000 extents).
    """
    # By its descriptor: filefrag prints the name it is given, and this one may be made to look like its lines.
    quoted = b"'" + (b"/sysroot" + path).replace(b"'", b"'\\''") + b"'"
    shorter = b"grep -av unwritten | sed 's/^\\( *[0-9]*: *[0-9]*\\.\\. *[0-9]*\\):.*/\\1/'"
    try:
        said = disk.shell(b"LC_ALL=C filefrag -v /proc/self/fd/0 2>/dev/null < " + quoted + b" | " + shorter)
    except BrowseError:
        return None
    block = BLOCKS.search(said)
    if block is None:
        return None
    length = int(block.group(1))
    return list(joined(sorted((int(low) * length, (int(high) + 1) * length) for low, high in EXTENT.findall(said))))
