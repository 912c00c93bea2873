"""A restore point's tree, each volume served by the driver that tells the truth about it soonest."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from typing_extensions import override

from engines.backup.files import subvolumes
from engines.backup.files.model import BrowseError, DiskBytes, Volume, VolumeInfo
from engines.backup.files.tree import Tree
from engines.backup.files.volumes import disk_map
from engines.backup.files.volumes.known import CLOSED
from engines.backup.files.volumes.quick import open_quick
from engines.backup.files.volumes.watched import Watched
from engines.job.contract import Cancel
from engines.job.errors import Failed, Refused
from engines.job.params import param

if TYPE_CHECKING:
    from types import TracebackType

    from engines.backup.files.appliance.driver import GuestfsDisk

Driver = Literal["auto", "quick", "libguestfs"]
WhichDriver = Annotated[
    Driver, param("Driver", "quick reads here, libguestfs in a virtual machine; auto takes what is sure")
]
Purpose = Literal["look", "take"]
HIDDEN = ("swap", "empty", "", *CLOSED)  # nothing to open in these
BEHIND = ("lvm2", "md")  # a volume that holds others, which only libguestfs shows


class Appliance(Protocol):
    """What the libguestfs driver gives: a started appliance with the disk in it."""

    def infos(self) -> tuple[VolumeInfo, ...]:
        """The file systems that it found."""
        ...

    def open(self, info: VolumeInfo) -> Volume:
        """One of them."""
        ...


class BrowseTree(Tree):
    """A Tree that also knows the disk.

    map: None where only libguestfs looked at it. unlisted: by name, why the subvolumes of a volume are not known
    before it is opened.
    """

    def __init__(
        self,
        opener: VolumeOpener,
        infos: tuple[VolumeInfo, ...],
        map_: disk_map.DiskMap | None,
        notes: tuple[str, ...] = (),
        unlisted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(infos, opener.open)
        self._opener = opener
        self.map = map_
        self._notes = notes
        self._unlisted = dict(unlisted)
        self._learning = threading.Lock()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out so far, and why."""
        return (*self._notes, *(subvolumes.unlisted(name, why) for name, why in list(self._unlisted.items())))

    @override
    def listed(self) -> Mapping[str, VolumeInfo]:
        for name in list(self._unlisted):
            try:
                self._volume(name)
            except (Failed, Refused) as error:
                self._told(name, (), subvolumes.unlisted(name, error.why))
        return self.infos

    @override
    def names(self, first: bytes) -> bool:
        for name in [each for each in self._unlisted if first.startswith(each.encode() + b".")]:
            with suppress(Failed, Refused):
                self._volume(name)
        return super().names(first)

    @override
    def _volume(self, name: str) -> Volume:
        volume = super()._volume(name)
        if name in self._unlisted:
            try:
                found = tuple(subvolumes.named(self.infos[name], volume.subvolumes, set(self.infos)))
            except Failed as error:
                self._told(name, (), subvolumes.unlisted(name, error.why))
            else:
                self._told(name, found)
        return volume

    def _told(self, name: str, found: tuple[VolumeInfo, ...], *notes: str) -> None:
        """Once of each volume; whoever goes over the list meanwhile goes over the one that there was."""
        with self._learning:
            if self._unlisted.pop(name, None) is not None:
                self.infos = {**self.infos, **{info.name: info for info in found}}
                self._notes += notes

    def close(self) -> None:
        """Let go of every volume, and of the appliance where it was started for this tree."""
        super().close()
        self._opener.close()

    def __enter__(self) -> BrowseTree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VolumeOpener:
    """Opens volumes for one disk; starts the appliance when the first volume needs it."""

    def __init__(
        self, source: DiskBytes, driver: Driver, purpose: Purpose, cancel: Cancel, appliance: Appliance | None
    ) -> None:
        self._source = source
        self._driver = driver
        self._purpose = purpose
        self.cancel = cancel
        self._lent = appliance
        self._started: GuestfsDisk | None = None

    def appliance(self) -> Appliance:
        """The one that was lent, or one of our own. Raises Refused."""
        if self._lent is None:
            from engines.backup.files.appliance.driver import open_libguestfs

            self._lent = self._started = open_libguestfs(self._source, self.cancel)
        return self._lent

    def open(self, info: VolumeInfo) -> Volume:
        """The volume, by the driver that the rules give. Raises Refused, BrowseError."""
        by_appliance = self._driver != "quick" and "libguestfs" in info.drivers
        if self._driver == "quick" or (self._driver == "auto" and "quick" in info.drivers):
            try:
                return open_quick(self._source, info, truth=by_appliance and self._purpose == "take")
            except BrowseError:
                if not by_appliance:
                    raise
        if not by_appliance:
            raise BrowseError(f"{info.name}: no driver reads {info.format or 'what is on it'}")
        appliance = self.appliance()
        return appliance.open(_same(appliance, info))

    def close(self) -> None:
        """End the appliance, where it is ours."""
        if self._started is not None:
            self._started.close()
            self._started = self._lent = None


def _same(appliance: Appliance, info: VolumeInfo) -> VolumeInfo:
    """The appliance's own info of a volume that the disk map named."""
    found = [each for each in appliance.infos() if each.name == info.name]
    found = found or [each for each in appliance.infos() if each.uuid and each.uuid == info.uuid]
    return found[0] if found else info


def open_tree(
    source: DiskBytes,
    driver: Driver = "auto",
    purpose: Purpose = "look",
    cancel: Cancel | None = None,
    appliance: Appliance | None = None,
) -> BrowseTree:
    """The files on a disk; close it, or use it as a context.

    A journal that waits is replayed in memory where the quick driver can. Where it cannot: to "look", the file system
    is served as it lies, and its `state` says so; to "take", libguestfs replays it on a throwaway overlay.
    appliance: one that is kept warm, never closed here. Raises Refused, BrowseError.
    """
    opener = VolumeOpener(source, driver, purpose, Cancel() if cancel is None else cancel, appliance)
    try:
        if driver == "libguestfs":
            seen, lacking = opener.appliance().infos(), list[str]()
            return BrowseTree(opener, (*seen, *subvolumes.asked(seen, opener.open, lacking)), None, tuple(lacking))
        found = disk_map.survey(Watched(source, opener.cancel))
        infos = [info for info in found.volumes if info.format not in HIDDEN and info.format not in BEHIND]
        hidden = [info for info in found.volumes if info.format in BEHIND]
        notes = list(found.trouble)
        notes += [f"{info.name}: {CLOSED[info.format]}" for info in found.volumes if info.format in CLOSED]
        if hidden and driver == "auto":
            known = {info.name for info in found.volumes}
            try:
                infos += [info for info in opener.appliance().infos() if info.name not in known]
            except Refused as refused:
                if not infos:
                    raise
                notes.append(f"{', '.join(info.name for info in hidden)} not shown: {refused}")
        elif hidden:
            notes.append(f"{', '.join(info.name for info in hidden)}: the quick driver does not look inside")
        if not infos and driver == "auto" and any(not info.format and not info.state for info in found.volumes):
            infos += [info for info in opener.appliance().infos() if info.drivers]
        if not infos:
            raise _nothing(found, driver)
        unlisted = dict[str, str]()
        if driver == "auto":
            own = {info.name for info in found.volumes}
            seen = tuple(infos)
            inner, unlisted = subvolumes.listed(source, [info for info in seen if info.name in own])
            infos += inner
            infos += subvolumes.asked([info for info in seen if info.name not in own], opener.open, notes)
        return BrowseTree(opener, tuple(infos), found, tuple(notes), unlisted)
    except BaseException:
        opener.close()
        raise


def _nothing(found: disk_map.DiskMap, driver: Driver) -> BrowseError:
    words = ", ".join(f"{info.name} {info.format or info.state or 'unknown'}" for info in found.volumes)
    formats = {info.format for info in found.volumes}
    helps = "without --driver quick, libguestfs looks inside" if formats & set(BEHIND) and driver == "quick" else ""
    if not helps:
        helps = "; ".join(f"{name} is {CLOSED[name]}" for name in sorted(formats & set(CLOSED)))
    return BrowseError(f"no file system on this disk can be opened; it has {words}", helps)


def states(tree: BrowseTree) -> dict[str, str]:
    """By volume, what is not the whole truth about what is shown of it; only of volumes that are open."""
    return {name: volume.state for name, volume in tree.opened.items() if volume.state}
