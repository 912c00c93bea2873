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


def listed(disk: DiskBytes, infos: Iterable[VolumeInfo]) -> tuple[list[VolumeInfo], dict[str, str]]:
    """(the subvolumes of every btrfs among `infos`, by name why those of one are not known here).

    Nothing is started for it. infos: say by bytes where they lie on `disk`.
    """
    whole = list(infos)
    found, unknown = list[VolumeInfo](), dict[str, str]()
    taken = {info.name for info in whole}
    for info in _with_any(whole):
        try:
            found += named(info, subvolumes.found(Window(disk, info.offset, info.size)), taken)
        except Failed as error:
            unknown[info.name] = error.why
    return found, unknown


def asked(infos: Iterable[VolumeInfo], opened: Callable[[VolumeInfo], Volume], notes: list[str]) -> list[VolumeInfo]:
    """The same by the volumes themselves, which are opened for it; what is not known goes to `notes`."""
    whole = list(infos)
    found, taken = list[VolumeInfo](), {info.name for info in whole}
    for info in _with_any(whole):
        try:
            found += named(info, opened(info).subvolumes, taken)
        except (Failed, Refused) as error:
            notes.append(unlisted(info.name, error.why))
    return found


def unlisted(name: str, why: str) -> str:
    """The note on a volume whose subvolumes are not shown."""
    return f"{name}: its subvolumes are not known: {why}"


def _with_any(infos: Iterable[VolumeInfo]) -> list[VolumeInfo]:
    return [info for info in infos if info.format == "btrfs" and "libguestfs" in info.drivers]


def named(info: VolumeInfo, rows: Mapping[int, bytes], taken: set[str]) -> Iterator[VolumeInfo]:
    """`p2.@home`, `p2.@.home` for one within another; by its number where the name is odd, or taken.

    taken: names, to which theirs are added. Raises BrowseError for more than a real system has.
    """
    subvolumes.bounded(rows.values())
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
