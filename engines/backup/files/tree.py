"""A restore point as one folder tree, whichever drivers serve its volumes.

A disk with one file system is that file system. One with several is the guest's own tree, as its fstab joins it; each
volume has a folder of its name besides, and what no fstab joins is found there only. A subvolume of btrfs has one, too.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator, Mapping

import msgspec

from engines.backup.files import guest, subvolumes
from engines.backup.files.guest import GuestMounts
from engines.backup.files.model import BrowseError, Node, NoSuchFile, Volume, VolumeInfo, join, parsed, shown
from engines.backup.files.visited import Visited, identity
from engines.job.errors import Failed, Refused

ROOTLESS = ("vfat", "exfat", "iso9660", "udf", "hfs", "hfsplus")  # no guest of ours starts from these
LINKS = 40  # followed at most, as Linux does


class NoRoot(BrowseError):
    """A path of the guest's own tree on a disk that has none: it was looked for in the wrong place."""


class Tree:
    """Paths over volumes; each is opened when it is first needed.

    open_volume: gives an opened volume for its info; may start an appliance and take seconds. Used by any number of
    threads, each volume is opened once.
    """

    def __init__(self, infos: tuple[VolumeInfo, ...], open_volume: Callable[[VolumeInfo], Volume]) -> None:
        self.infos: Mapping[str, VolumeInfo] = {info.name: info for info in infos}
        self._whole = [info for info in infos if not info.subvolume]
        self._open = open_volume
        self._opened: dict[str, Volume] = {}
        self._opening = threading.Lock()
        self._looking = threading.RLock()
        self._looked = False
        self._guest: GuestMounts | None = None

    @property
    def opened(self) -> Mapping[str, Volume]:
        """The volumes that have been opened so far, by name."""
        return self._opened

    @property
    def single(self) -> bool:
        """Whether paths need no volume in front."""
        return len(self._whole) == 1

    def guest(self) -> GuestMounts | None:
        """The guest's own tree, looked for once; None where no volume holds a root. Raises Stopped."""
        with self._looking:
            if not self._looked:
                found = guest.found(self._roots(), self._whole)
                self._guest = found and found.noted(subvolumes.beside(self.infos.values(), found.reaches))
                self._looked = True
        return self._guest

    @property
    def known(self) -> GuestMounts | None:
        """The guest's own tree, where it was looked for and found."""
        return self._guest

    def listed(self) -> Mapping[str, VolumeInfo]:
        """The whole list of volumes, for who asks for that: `infos` may lack what only an opened one tells."""
        return self.infos

    def names(self, first: bytes) -> bool:
        """Whether the first component of a path is a volume's name."""
        return first.decode("utf-8", "replace") in self.infos

    def _roots(self) -> Iterator[Volume]:
        """Volumes that a guest may start from, those first that cost no appliance."""
        likely = [info for info in self._whole if info.drivers and info.format not in ROOTLESS]
        for info in sorted(likely, key=lambda each: "quick" not in each.drivers):
            try:
                yield self._volume(info.name)
            except (Failed, Refused):  # whoever asks for it by name is told
                continue

    def located(self, path: bytes) -> tuple[str, bytes]:
        """The name of the volume that holds `path`, and the path within it. Raises NoRoot, Elsewhere."""
        first, _, rest = path[1:].partition(b"/")
        name = first.decode("utf-8", "replace")
        if self.names(first) and not (self.single and self._holds(name, b"/" + first)):
            return self._inside(self.infos[name], b"/" + rest)
        only = self._whole[0] if self.single else None
        if only and only.format != "btrfs":
            return only.name, path
        own = self.guest()
        at = own.place(path) if own else None
        if at or only:
            return at or (only.name if only else "", path)
        known = ", ".join(self.infos) or "none"
        raise NoRoot(
            f"{shown(path)}: no such volume, and no volume holds a guest's root; there are {known}",
            "begin the path with a volume: p1:/path",
        )

    def _inside(self, info: VolumeInfo, path: bytes) -> tuple[str, bytes]:
        if not info.subvolume:
            return info.name, path
        return info.within, parsed(info.subvolume) + (path if path != b"/" else b"")

    def _holds(self, name: str, path: bytes) -> bool:
        info = self.infos[name]
        try:
            self._volume(info.within or name).stat(path)
        except NoSuchFile:
            return False
        return True

    def volume(self, path: bytes) -> tuple[Volume, bytes]:
        """The volume that holds `path`, and the path within it. Raises NoRoot, Elsewhere, Refused, BrowseError."""
        name, inner = self.located(path)
        return self._volume(name), inner

    def _volume(self, name: str) -> Volume:
        if name not in self._opened:
            with self._opening:
                if name not in self._opened:
                    self._opened[name] = self._open(self.infos[name])
        return self._opened[name]

    def elsewhere(self, path: bytes) -> str:
        """Why a path that is not here may be on another disk of the guest; empty where this disk would have it."""
        if self.names(path[1:].partition(b"/")[0]):
            return ""
        try:
            own = self.guest()
            if own is None:
                return "no volume of this disk holds the guest's root"
            own.place(path)
        except BrowseError as error:
            return error.why
        return ""

    def joined(self, path: bytes) -> bool:
        """Whether the guest mounts a volume there; only known once its tree was looked for."""
        return self._guest is not None and any(each.point == path for each in self._guest.joined)

    def is_top(self, path: bytes) -> bool:
        """Whether `path` is the list of volumes."""
        return not self.single and path == b"/"

    def stat(self, path: bytes) -> Node:
        """The node at `path`; links before its last component are followed. Raises NoSuchFile, BrowseError."""
        if self.is_top(path):
            return _folder(b"", 0)
        volume, inner = self.volume(self._resolved(path))
        return volume.stat(inner)

    def list(self, path: bytes) -> Iterator[Node]:
        """The entries of a folder, or the volumes. Raises NoSuchFile, BrowseError."""
        if self.is_top(path):
            yield from [_folder(info.name.encode(), info.size) for info in self.listed().values()]
            yield from self.root()
            return
        volume, inner = self.volume(self.resolve(path))
        yield from volume.list(inner)

    def inside(self, path: bytes) -> Iterator[Node]:
        """What a walk goes over: as `list`, the volumes left out that it comes to by the guest's own tree, and
        subvolumes: they are folders of a volume, or a note of the guest's tree names them."""
        if not self.is_top(path):
            yield from self.list(path)
            return
        yield from self.root()
        seen = {each.volume for each in self._guest.joined} if self._guest else set[str]()
        yield from [_folder(info.name.encode(), info.size) for info in self._whole if info.name not in seen]

    def root(self) -> Iterator[Node]:
        """The entries of the guest's root, without those whose names are volumes."""
        own = self.guest()
        if own and (at := own.place(b"/")):
            nodes = self._volume(at[0]).list(at[1])
            yield from (node for node in nodes if node.name.decode("utf-8", "replace") not in self.infos)

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        """Bytes of a regular file, links followed."""
        volume, inner = self.volume(self.resolve(path))
        return volume.read(inner, offset, length)

    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        """Where a file holds data."""
        volume, inner = self.volume(self._resolved(path))
        return volume.extents(inner)

    def attributes(self, path: bytes) -> dict[str, bytes]:
        """Extended attributes. Raises Unsupported where the driver does not carry them."""
        volume, inner = self.volume(self._resolved(path))
        return volume.attributes(inner)

    def walk(
        self,
        path: bytes,
        trouble: Callable[[bytes, Failed], None] | None = None,
        begun: Callable[[bytes], None] = lambda _: None,
    ) -> Iterator[tuple[bytes, Node]]:
        """`path` and everything below it, a folder before its entries; links are not followed, a circle of folders
        is entered once. A folder that cannot be listed goes to `trouble`, or is raised where there is none; an entry
        whose inode is damaged goes there, too. begun: told of each folder before its entries are read."""
        node = self.stat(path)
        yield path, node
        if not node.is_folder:
            return
        waiting, visited = [path], Visited()
        self._enter(path, node, visited)
        while waiting:
            folder = waiting.pop()
            begun(folder)
            try:
                for entry in self.inside(folder):
                    found = join(folder, entry.name)
                    if self.joined(found):
                        entry = self._mounted(found, entry)
                    yield found, entry
                    if entry.is_folder:
                        why = self._enter(found, entry, visited)
                        if not why:
                            waiting.append(found)
                        elif trouble is not None:
                            trouble(found, BrowseError(why))
                    elif not entry.mode and trouble is not None:
                        trouble(found, BrowseError("its inode is damaged"))
            except Failed as error:
                if trouble is None:
                    raise
                trouble(folder, error)

    def _mounted(self, path: bytes, entry: Node) -> Node:
        try:
            return msgspec.structs.replace(self.stat(path), name=entry.name)
        except (Failed, Refused):
            return entry

    def _enter(self, path: bytes, folder: Node, visited: Visited) -> str:
        """Why a walk does not go into a folder, if so."""
        if why := self.stops(path):
            return why
        volume = None if self.is_top(path) else self.volume(path)[0]
        return visited.trouble(path.count(b"/"), identity(volume, folder, self.mount(path)))

    def stops(self, path: bytes) -> str:
        """Why a walk ends at a folder of the guest's tree: what belongs there is on another disk; empty if not so."""
        there = self._guest.elsewhere.get(path) if self._guest else None
        return f"is where the guest has {there}, which is not on this disk" if there else ""

    def mount(self, path: bytes) -> bytes:
        """The mount point that a path of the guest's tree lies below; empty for its root and for volumes by name."""
        if self._guest is None or self.is_top(path) or self.names(path[1:].partition(b"/")[0]):
            return b""
        return self._guest.mount(path)

    def resolve(self, path: bytes) -> bytes:
        """`path` with every link followed, the last too, never out of its volume where that is named.

        Raises BrowseError for a loop.
        """
        return self._resolved(path, last=True)

    def _resolved(self, path: bytes, *, last: bool = False) -> bytes:
        if self.is_top(path):
            return path
        parts = [part for part in path.split(b"/") if part]
        named = not self.single and parts and self.names(parts[0])
        root = parts[:1] if named else []
        done, waiting, followed = list(root), parts[len(root) :], 0
        while waiting:
            part = waiting.pop(0)
            if part == b"..":
                done = done[: max(len(root), len(done) - 1)]
                continue
            here = b"/" + b"/".join([*done, part])
            if waiting or last:
                volume, inner = self.volume(here)
                node = volume.stat(inner)
                if node.is_link:
                    followed += 1
                    if followed > LINKS:
                        raise BrowseError(f"{shown(path)}: too many symbolic links, they may go round in a circle")
                    done = list(root) if node.link.startswith(b"/") else done
                    waiting = [each for each in node.link.split(b"/") if each not in (b"", b".")] + waiting
                    continue
            done.append(part)
        return b"/" + b"/".join(done)

    def close(self) -> None:
        """Let go of every volume."""
        while self._opened:
            self._opened.popitem()[1].close()


def _folder(name: bytes, size: int) -> Node:
    return Node(name=name, inode=0, mode=stat.S_IFDIR | 0o555, size=size)
