"""The quick driver: a file system opened in this process, within milliseconds, without root and without mounting it."""

from __future__ import annotations

from engines.backup.browse.model import Source, Unsupported, Volume, VolumeInfo
from engines.backup.browse.window import Window

EXT = ("ext2", "ext3", "ext4")


def open_quick(disk: Source, info: VolumeInfo) -> Volume:
    """The volume as it lies on the disk; `state` repeats why it is dirty. Raises BrowseError, Unsupported."""
    part = Window(disk, info.offset, info.size)
    if info.format in EXT:
        from engines.backup.browse.ext.volume import ExtVolume

        return ExtVolume(part, info, info.dirty)
    if "quick" not in info.drivers:
        raise Unsupported(f"{info.name}: the quick driver cannot read {info.format or 'what is on it'}")
    from engines.backup.browse.tsk import TskVolume

    return TskVolume(part, info, info.dirty)
