"""The subvolumes of a btrfs as volumes of their own, each by a name that begins with that of the whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from engines.backup.files.model import DiskBytes, Volume, VolumeInfo, parsed, shown
from engines.backup.files.volumes.btrfs import subvolumes
from engines.backup.files.volumes.window import Window
from engines.job.errors import Failed, Refused

PLAIN = re.compile(r"[\w@.+-]+(/[\w@.+-]+)*")
TOLD = 8  # names in a note


def listed(
    disk: DiskBytes | None, infos: Iterable[VolumeInfo], opened: Callable[[VolumeInfo], Volume], notes: list[str]
) -> list[VolumeInfo]:
    """Of every btrfs among `infos`, what is not known goes to `notes`.

    disk: where `infos` say by bytes where they lie; without it, or with trees on other disks, they are opened.
    """
    whole = list(infos)
    taken = {info.name for info in whole}
    found = list[VolumeInfo]()
    for info in whole:
        if info.format != "btrfs" or "libguestfs" not in info.drivers:
            continue
        try:
            rows = _rows(disk, info, opened)
        except (Failed, Refused) as error:
            notes.append(f"{info.name}: its subvolumes are not known: {error.why}")
            continue
        found += _named(info, rows, taken)
    return found


def _rows(disk: DiskBytes | None, info: VolumeInfo, opened: Callable[[VolumeInfo], Volume]) -> Mapping[int, bytes]:
    if disk is not None:
        try:
            return subvolumes.found(Window(disk, info.offset, info.size))
        except Failed:
            pass
    return opened(info).subvolumes


def _named(info: VolumeInfo, rows: Mapping[int, bytes], taken: set[str]) -> Iterator[VolumeInfo]:
    """`p2.@home`, `p2.@.home` for one within another; by its number where the name is odd, or taken."""
    for number, path in sorted(rows.items(), key=lambda row: row[1]):
        text = shown(path)
        name = f"{info.name}.{text[1:].replace('/', '.')}"
        if not PLAIN.fullmatch(text[1:]) or name in taken:
            name = f"{info.name}.{number}"
        if name not in taken:
            taken.add(name)
            yield msgspec.structs.replace(info, name=name, within=info.name, subvolume=text)


def beside(infos: Iterable[VolumeInfo], reached: Callable[[str, bytes], bool]) -> tuple[str, ...]:
    """A note on those, the outermost of each, that no path of the guest's own tree leads to."""
    left = dict[str, VolumeInfo]()
    for info in sorted((each for each in infos if each.subvolume), key=lambda each: each.subvolume):
        outer = any(
            other.within == info.within and info.subvolume.startswith(other.subvolume + "/") for other in left.values()
        )
        if not outer and not reached(info.within, parsed(info.subvolume)):
            left[info.name] = info
    if not left:
        return ()
    more = f" and {len(left) - TOLD} more" if len(left) > TOLD else ""
    names = ", ".join(list(left)[:TOLD])
    return (f"subvolumes beside the guest's tree, each by its name ({next(iter(left))}:/): {names}{more}",)
