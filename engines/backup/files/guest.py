"""The guest's own tree: which volume it starts from, and where its fstab joins the others.

Sources: fstab(5), mount(8); btrfs-subvolume(8) for subvol= and the default subvolume.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

from engines.backup.errors import Damaged, Missing
from engines.backup.files import fstab
from engines.backup.files.fstab import Row
from engines.backup.files.model import BrowseError, Node, Volume, VolumeInfo, join, shown

FSTAB = b"/etc/fstab"
LINUX = (FSTAB, b"/etc/os-release", b"/usr/lib/os-release", b"/etc/passwd")
WINDOWS = (b"/Windows/System32", b"/WINDOWS/system32", b"/WINNT/system32")
LONGEST = 1 << 20  # bytes of an fstab
MOST = 5000  # mounts of one fstab; a host of jails has some hundreds
DEEPEST = 4096  # bytes of a path that is joined, as Linux has it
LINKS = 40  # followed at most, as Linux does
APART = (
    "swap",
    "tmpfs",
    "proc",
    "sysfs",
    "devpts",
    "devtmpfs",
    "nfs",
    "nfs4",
    "cifs",
    "9p",
    "virtiofs",
    "none",
    "auto.",
    *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devfs", "efivarfs", "fdescfs"),
    *("fusectl", "hugetlbfs", "mqueue", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "tracefs", "nfsd"),
    *("overlay", "aufs", "unionfs", "ecryptfs", "fuse", "sshfs", "davfs", "smb3", "smbfs", "afs", "ceph", "glusterfs"),
    *("lustre", "beegfs", "mergerfs"),
)
SUBVOLUMES = 64  # looked into for a root


@dataclass(frozen=True)
class Joined:
    """At `point` of the guest's tree lies `volume`, from its folder `inner` on; paths without a slash at their end."""

    point: bytes
    volume: str
    inner: bytes = b""


@dataclass(frozen=True)
class GuestMounts:
    """joined: the longest mount points first, the root last. elsewhere: by mount point, what is not on this disk."""

    joined: tuple[Joined, ...]
    elsewhere: dict[bytes, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def place(self, path: bytes) -> tuple[str, bytes] | None:
        """The volume that a path of the guest lies on, and its path there. Raises BrowseError for another disk's."""
        return _place(path, self._by_point, self.elsewhere)

    @cached_property
    def _by_point(self) -> dict[bytes, Joined]:
        return {each.point: each for each in self.joined}

    def reaches(self, volume: str, inner: bytes) -> bool:
        """Whether a path of the guest leads to a folder of a volume."""
        return any(each.volume == volume and _within(inner, each.inner) for each in self.joined)

    def noted(self, notes: tuple[str, ...]) -> GuestMounts:
        """The same with more notes."""
        return replace(self, notes=self.notes + notes)

    def mount(self, path: bytes) -> bytes:
        """The mount point that a path lies below."""
        return next((each.point for each in self.joined if _within(path, each.point)), b"")

    def below(self, path: bytes) -> list[Joined]:
        """What is joined somewhere below a folder, the nearest first."""
        return [each for each in reversed(self.joined) if each.point != path.rstrip(b"/") and _within(each.point, path)]


def _place(path: bytes, joined: Mapping[bytes, Joined], elsewhere: Mapping[bytes, str]) -> tuple[str, bytes] | None:
    """See GuestMounts.place: by the names of the path from its end, however long the table is."""
    point = path
    while True:
        if found := joined.get(point):
            return found.volume, (found.inner + path[len(point) :]) or b"/"
        if point != path and point in elsewhere:
            raise Elsewhere(
                f"{shown(path)}: the guest has {_spec(elsewhere[point])} at {shown(point)}, which is not on this disk",
                "look into the points of the guest's other disks",
            )
        if not point:
            return None
        point = point.rpartition(b"/")[0]


class Elsewhere(BrowseError):
    """A path of the guest that this disk does not hold: nothing can be said of it here."""


def _spec(spec: str) -> str:
    """An fstab's first field for a line: no report can be written of what is no UTF-8."""
    return shown(spec.encode("utf-8", "surrogateescape"))


def _within(path: bytes, point: bytes) -> bool:
    point = point.rstrip(b"/")
    return not point or path == point or path.startswith(point + b"/")


@dataclass(frozen=True)
class _Root:
    volume: Volume
    inner: bytes
    rows: tuple[Row, ...]

    @property
    def itself(self) -> Row | None:
        return next((row for row in self.rows if row.point == b""), None)


def found(volumes: Iterable[Volume], infos: Iterable[VolumeInfo]) -> GuestMounts | None:
    """The tree of the guest whose root is among `volumes`, each opened as it is reached; None for no root at all.

    The first root whose fstab names itself is taken; without one, the first. infos: all volumes of the disk.
    """
    known, roots = list(infos), list[_Root]()
    for volume in volumes:
        for root in _roots(volume):
            roots.append(root)
            if root.itself and _is(root, root.itself, known):
                return _joined(root, known, roots)
    return _joined(roots[0], known, roots) if roots else None


def _is(root: _Root, row: Row, known: list[VolumeInfo]) -> bool:
    """Whether a root's fstab means that very root."""
    info = fstab.named(row.spec, known, "")
    inner = _subvolume(root.volume, row)
    return info is not None and info.name == root.volume.info.name and inner in (None, root.inner)


def _roots(volume: Volume) -> Iterator[_Root]:
    """Folders of a volume that a guest may start from: its own top, or a subvolume of btrfs."""
    inside = [volume.default, b""]
    if volume.info.format == "btrfs":
        inside += [join(b"/", node.name) for node in _listed(volume, b"/") if node.is_folder]
        inside += sorted(volume.subvolumes.values(), key=len)[:SUBVOLUMES]
    seen = set[bytes]()
    for inner in inside:
        inner = inner.rstrip(b"/")
        if inner in seen:
            continue
        seen.add(inner)
        if _has(volume, inner + b"/etc") and any(_has(volume, inner + path) for path in LINUX):
            rows = fstab.rows(_content(volume, inner, FSTAB))
            yield _Root(volume, inner, tuple(islice(rows, MOST)))
        elif any(_has(volume, inner + path) for path in WINDOWS):
            yield _Root(volume, inner, ())


def _listed(volume: Volume, path: bytes) -> list[Node]:
    try:
        return list(volume.list(path))
    except (BrowseError, Damaged, Missing):
        return []


def _has(volume: Volume, path: bytes) -> bool:
    try:
        volume.stat(path)
    except (BrowseError, Damaged, Missing):
        return False
    return True


def _content(volume: Volume, root: bytes, path: bytes) -> bytes:
    """Of a file below a root, links followed within it: some systems keep their fstab elsewhere."""
    try:
        return volume.read(root + _followed(volume, root, path), 0, LONGEST)
    except (BrowseError, Damaged, Missing):
        return b""


def _followed(volume: Volume, root: bytes, path: bytes) -> bytes:
    """Raises BrowseError for a circle."""
    done, waiting = list[bytes](), [each for each in path.split(b"/") if each]
    for _ in range(LINKS * len(waiting) * 8):
        if not waiting:
            return b"".join(b"/" + each for each in done)
        part = waiting.pop(0)
        if part == b"..":
            done = done[:-1]
            continue
        node = volume.stat(root + b"".join(b"/" + each for each in (*done, part)))
        if not node.is_link:
            done.append(part)
            continue
        done = [] if node.link.startswith(b"/") else done
        waiting = [each for each in node.link.split(b"/") if each not in (b"", b".")] + waiting
    raise BrowseError(f"{shown(path)}: its symbolic links go round in a circle")


def _joined(root: _Root, known: list[VolumeInfo], roots: list[_Root]) -> GuestMounts:
    own = root.volume.info.name
    joined = {b"": Joined(b"", own, root.inner)}
    elsewhere: dict[bytes, str] = {}
    bound: dict[bytes, Row] = {}
    disk = root.itself.spec if root.itself else ""
    unsure = fstab.unsure(root.rows, disk)
    for row in root.rows:
        if "bind" in row.options or "rbind" in row.options:
            bound[row.point] = row
            continue
        if row.point == b"" or row.format in APART or row.format.startswith("fuse."):
            continue
        info = fstab.named(row.spec, known, disk) if row.spec not in unsure else None
        info = info if info and fstab.fits(row, info) else None
        if info is None:
            if row.options.keys() & {"noauto", "x-systemd.automount"} != {"noauto"}:  # else nothing is there yet
                elsewhere[row.point] = row.spec
                joined.pop(row.point, None)
            continue
        elsewhere.pop(row.point, None)  # of two lines for one place, the later lies on top
        inner = _subvolume(root.volume, row) if info.name == own else fstab.subvolume(row)
        joined[row.point] = Joined(row.point, info.name, (inner or b"") + fstab.beneath(row))
    for point, row in bound.items():  # in the order of the table, over what is mounted by then
        source = row.spec.encode("utf-8", "surrogateescape").rstrip(b"/") or b"/"
        try:
            at = _place(source, joined, elsewhere)
        except Elsewhere:
            elsewhere[point] = row.spec
            continue
        if at and len(at[1]) < DEEPEST:  # each may lie in the one before
            joined[point] = Joined(point, at[0], at[1].rstrip(b"/") + fstab.beneath(row))
    others = sorted({each.volume.info.name for each in roots} - {own})
    notes = [f"the guest's tree is that of {own}; {', '.join(others)} holds a root, too"] if others else []
    notes += [f"{shown(point)} of the guest is {_spec(spec)}, not on this disk" for point, spec in elsewhere.items()]
    if len(root.rows) == MOST:
        notes.append(f"the guest's fstab mounts more than {MOST} things: the rest is not looked at")
    return GuestMounts(_ordered(joined.values()), elsewhere, tuple(notes))


def _ordered(joined: Iterable[Joined]) -> tuple[Joined, ...]:
    return tuple(sorted(joined, key=lambda each: -len(each.point)))


def _subvolume(volume: Volume, row: Row) -> bytes | None:
    """The same, and the default subvolume where btrfs is told nothing; None for any."""
    if volume.info.format != "btrfs":
        return None
    named = fstab.subvolume(row)
    if named is None and "subvolid" in row.options:
        return _numbered(volume, row)
    return bytes(volume.default) if named is None else named


def _numbered(volume: Volume, row: Row) -> bytes | None:
    """The folder of a subvolume by its id; None where it is not known."""
    try:
        number = int(row.options["subvolid"], 0)
    except ValueError:
        return None
    return b"" if number in (0, 5) else volume.subvolumes.get(number)
