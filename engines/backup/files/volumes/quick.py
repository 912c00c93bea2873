"""The quick driver: a file system opened in this process, within milliseconds, without root and without mounting it."""

from __future__ import annotations

from engines.backup.files.model import NOT_REPLAYED, BrowseError, DiskBytes, Unsupported, Volume, VolumeInfo
from engines.backup.files.volumes import spare
from engines.backup.files.volumes.window import Window

EXT = ("ext2", "ext3", "ext4")
REPLAYED = "journal replayed"


def open_quick(disk: DiskBytes, info: VolumeInfo, *, truth: bool = False) -> Volume:
    """The volume; a journal that waits is laid over it in memory, and `state` says whether that could be done.

    truth: raise rather than serve what a start of the guest would change. Raises BrowseError, Unsupported.
    """
    part = Window(disk, info.offset, info.size)
    if info.format in EXT:
        return _ext(part, info, truth)
    if "quick" not in info.drivers:
        raise Unsupported(f"{info.name}: the quick driver cannot read {info.format or 'what is on it'}")
    if truth and info.dirty == NOT_REPLAYED:
        raise Unsupported(f"{info.name}: the quick driver cannot replay the journal of {info.format}")
    part = spare.sound(part)
    if info.format == "ntfs":
        from engines.backup.files.volumes.ntfs.volume import NtfsVolume

        return NtfsVolume(part, info, info.state)
    from engines.backup.files.volumes.fat.volume import FatVolume

    return FatVolume(part, info, info.state)


def _ext(part: Window, info: VolumeInfo, truth: bool) -> Volume:
    from engines.backup.files.volumes.ext.volume import ExtVolume

    if info.dirty == NOT_REPLAYED:
        from engines.backup.files.volumes.replay import replay

        try:
            return ExtVolume(replay(part), info, "; ".join(filter(None, (info.cut, REPLAYED))))
        except BrowseError:
            if truth:
                raise
    return ExtVolume(part, info, info.state)
