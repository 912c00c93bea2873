"""Where a file in an appliance holds data, by the file system's own map of it, as far as the map can be believed."""

from __future__ import annotations

import re

from engines.backup.files.appliance.calls import Calls
from engines.backup.files.model import BrowseError
from engines.backup.files.ranges import joined

EXTENT = re.compile(rb"^ *\d+: *(\d+)\.\. *(\d+) ?(unwritten)?$", re.MULTILINE)
BLOCKS = re.compile(rb"^File size of /proc/self/fd/0 is .* of (\d+) bytes\)$", re.MULTILINE)
MAPPING = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "gfs2", "ocfs2")  # they answer FIEMAP
# Lines of filefrag without what is not asked for: a message holds some 100,000 of them.
SHORTER = rb"sed -E 's/^( *[0-9]+: *[0-9]+\.\. *[0-9]+):(.*(unwritten))?.*/\1 \3/'"


def mapped(disk: Calls, path: bytes, format_: str, allocated: int | None) -> list[tuple[int, int]] | None:
    """Ascending (start, end) in bytes, reserved extents left out; `path` is the appliance's, `allocated` in bytes.

    None where the file system gives no map, one that accounts for less than the file's allocated bytes (without
    FIEMAP filefrag asks block by block, and tails, small files and compressed ones have none), or one longer than
    a message.
    """
    # By its descriptor: filefrag prints the name it is given, and this one may be made to look like its lines.
    quoted = b"'" + (b"/sysroot" + path).replace(b"'", b"'\\''") + b"'"
    try:
        said = disk.shell(b"LC_ALL=C filefrag -v /proc/self/fd/0 2>/dev/null < " + quoted + b" | " + SHORTER)
    except BrowseError:
        return None
    block = BLOCKS.search(said)
    if block is None:
        return None
    length = int(block.group(1))
    rows = [(int(low) * length, (int(high) + 1) * length, reserved) for low, high, reserved in EXTENT.findall(said)]
    if not _accounts(sum(end - start for start, end, _ in rows), len(rows), length, format_, allocated):
        return None
    return list(joined(sorted((start, end) for start, end, reserved in rows if not reserved)))


def _accounts(covered: int, count: int, block: int, format_: str, allocated: int | None) -> bool:
    """Whether a map is all of a file's. Where maps are exact, a file's allocated bytes hold the map itself, too."""
    if allocated is None or (not allocated and format_ not in MAPPING):
        return False
    if format_ not in MAPPING:
        return covered >= allocated
    if not covered:
        return not allocated
    return covered + covered // 64 + block * 4 * (count + 2) >= allocated
