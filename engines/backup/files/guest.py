"""The guest's own tree: which volume it starts from, and where its fstab joins the others.

Sources: fstab(5), mount(8); btrfs-subvolume(8) for subvol= and the default subvolume.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import BrowseError, Node, Volume, VolumeInfo, join, shown

FSTAB = b"/etc/fstab"
LINUX = (FSTAB, b"/etc/os-release", b"/usr/lib/os-release", b"/etc/passwd")
WINDOWS = (b"/Windows/System32", b"/WINDOWS/system32", b"/WINNT/system32")
LONGEST = 1 << 20  # bytes of an fstab
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
)
DISK = re.compile(r"/dev/(?:[a-z]*[hsv]d[a-z]+|(?:nvme\d+n|mmcblk|nbd)\d+(?=p))p?(\d+)$")
PART = re.compile(r"-part(\d+)$")


@dataclass(frozen=True)
class Joined:
    """At `point` of the guest's tree lies `volume`, from its folder `inner` on; paths without a slash at their end."""

    point: bytes
    volume: str
    inner: bytes = b""


@dataclass(frozen=True)
class Guest:
    """joined: the longest mount points first, the root last. elsewhere: by mount point, what is not on this disk."""

    joined: tuple[Joined, ...]
    elsewhere: dict[bytes, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def place(self, path: bytes) -> tuple[str, bytes] | None:
        """The volume that a path of the guest lies on, and its path there. Raises BrowseError for another disk's."""
        found = next((each for each in self.joined if _within(path, each.point)), None)
        if found is None:
            return None
        beyond = [point for point in self.elsewhere if path != point and _within(path, point)]
        beyond = [point for point in beyond if len(point) > len(found.point)]
        if beyond:
            point = max(beyond, key=len)
            raise Elsewhere(
                f"{shown(path)}: the guest has {self.elsewhere[point]} at {shown(point)}, which is not on this disk",
                "look into the points of the guest's other disks",
            )
        return found.volume, (found.inner + path[len(found.point) :]) or b"/"

    def mount(self, path: bytes) -> bytes:
        """The mount point that a path lies below."""
        return next((each.point for each in self.joined if _within(path, each.point)), b"")

    def below(self, path: bytes) -> list[Joined]:
        """What is joined somewhere below a folder, the nearest first."""
        return [each for each in reversed(self.joined) if each.point != path.rstrip(b"/") and _within(each.point, path)]


class Elsewhere(BrowseError):
    """A path of the guest that this disk does not hold: nothing can be said of it here."""


def _within(path: bytes, point: bytes) -> bool:
    point = point.rstrip(b"/")
    return not point or path == point or path.startswith(point + b"/")


@dataclass(frozen=True)
class _Root:
    volume: Volume
    inner: bytes
    rows: tuple[_Row, ...]

    @property
    def itself(self) -> _Row | None:
        return next((row for row in self.rows if row.point == b""), None)


@dataclass(frozen=True)
class _Row:
    """A line of fstab."""

    spec: str
    point: bytes
    format: str
    options: dict[str, str]


def found(volumes: Iterable[Volume], infos: Iterable[VolumeInfo]) -> Guest | None:
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


def _is(root: _Root, row: _Row, known: list[VolumeInfo]) -> bool:
    """Whether a root's fstab means that very root."""
    info = _named(row.spec, known, "")
    inner = _subvolume(root.volume, row)
    return info is not None and info.name == root.volume.info.name and inner in (None, root.inner)


def _roots(volume: Volume) -> Iterator[_Root]:
    """Folders of a volume that a guest may start from: its own top, or a subvolume of btrfs."""
    inside = [getattr(volume, "default", b""), b""]
    if volume.info.format == "btrfs":
        inside += [join(b"/", node.name) for node in _listed(volume, b"/") if node.is_folder]
    seen = set[bytes]()
    for inner in inside:
        inner = inner.rstrip(b"/")
        if inner in seen:
            continue
        seen.add(inner)
        if _has(volume, inner + b"/etc") and any(_has(volume, inner + path) for path in LINUX):
            yield _Root(volume, inner, tuple(_rows(_content(volume, inner + FSTAB))))
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


def _content(volume: Volume, path: bytes) -> bytes:
    try:
        return volume.read(path, 0, LONGEST)
    except (BrowseError, Damaged, Missing):
        return b""


def _rows(raw: bytes) -> Iterator[_Row]:
    for line in raw.decode("utf-8", "surrogateescape").splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith("#"):
            continue
        spec, point, format_, options = (*words, "auto", "defaults")[:4] if len(words) < 4 else words[:4]
        if not point.startswith("/"):
            continue
        pairs = (each.partition("=") for each in options.split(","))
        spec, folder = (re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word) for word in (spec, point))
        path = folder.encode("utf-8", "surrogateescape").rstrip(b"/")
        yield _Row(spec.replace('"', ""), path, format_, {name: value for name, _, value in pairs})


def _joined(root: _Root, known: list[VolumeInfo], roots: list[_Root]) -> Guest:
    own = root.volume.info.name
    joined = {b"": Joined(b"", own, root.inner)}
    elsewhere: dict[bytes, str] = {}
    disk = root.itself.spec if root.itself and DISK.match(root.itself.spec) else ""
    for row in root.rows:
        if "bind" in row.options or "rbind" in row.options:
            if at := Guest(_ordered(joined.values())).place(row.spec.encode().rstrip(b"/") or b"/"):
                joined[row.point] = Joined(row.point, at[0], at[1].rstrip(b"/"))
            continue
        if row.point == b"" or row.format in APART:
            continue
        info = _named(row.spec, known, disk)
        if info is None:
            elsewhere[row.point] = row.spec
            continue
        inner = _subvolume(root.volume, row) if info.name == own else _path(row)
        joined[row.point] = Joined(row.point, info.name, inner or b"")
    others = sorted({each.volume.info.name for each in roots} - {own})
    notes = [f"the guest's tree is that of {own}; {', '.join(others)} holds a root, too"] if others else []
    notes += [f"{shown(point)} of the guest is {spec}, not on this disk" for point, spec in elsewhere.items()]
    return Guest(_ordered(joined.values()), elsewhere, tuple(notes))


def _ordered(joined: Iterable[Joined]) -> tuple[Joined, ...]:
    return tuple(sorted(joined, key=lambda each: -len(each.point)))


def _path(row: _Row) -> bytes | None:
    """The folder that subvol= names; None where it does not."""
    named = row.options.get("subvol", "")
    return (b"/" + named.strip("/").encode()).rstrip(b"/") if named else None


def _subvolume(volume: Volume, row: _Row) -> bytes | None:
    """The same, and the default subvolume where btrfs is told nothing; None for any."""
    if volume.info.format != "btrfs":
        return None
    named = _path(row)
    if named is None and "subvolid" not in row.options:
        return bytes(getattr(volume, "default", b""))
    return named


def _named(spec: str, known: list[VolumeInfo], disk: str) -> VolumeInfo | None:
    """The volume that the first field of a line means, as far as this disk has it."""
    tag, equals, value = spec.partition("=")
    if not equals and (place := re.match(r"/dev/disk/by-(uuid|label|partuuid|partlabel)/(.+)$", spec)):
        tag, equals, value = place[1].upper(), "=", _unescaped(place[2])
    if equals:
        return _tagged(tag.upper(), value, known)
    if found := re.search(r"/dev/disk/by-(?:id|path)/.*" + PART.pattern, spec):
        return _first(each for each in known if each.name == f"p{found[1]}")
    if found := re.match(r"/dev/mapper/(.+)$", spec):
        return _first(each for each in known if found[1] in (each.name, each.name.replace("-", "--"))
                      or each.name == found[1].replace("--", "-"))  # fmt: skip
    if found := re.match(r"/dev/md(?:/|(?=\d))(.+)$", spec):
        arrays = [each for each in known if re.match(r"md\d", each.name)]
        same = [each for each in arrays if each.name in (f"md{found[1]}", found[1])]
        return _first(iter(same or (arrays if len(arrays) == 1 else [])))
    if found := DISK.match(spec):
        return _first(each for each in known if each.name == f"p{found[1]}") if _own(spec, disk) else None
    if found := re.match(r"/dev/([^/]+)/([^/]+)$", spec):
        return _first(each for each in known if each.name == f"{found[1]}-{found[2]}")
    return None


def _own(spec: str, disk: str) -> bool:
    """Whether a kernel's name means this disk: the root's own, else the first of its kind."""
    if disk:
        return re.sub(r"p?\d+$", "", spec) == re.sub(r"p?\d+$", "", disk)
    return bool(re.match(r"/dev/(?:xv|[hsv])da\d|/dev/nvme0n1p|/dev/mmcblk0p", spec))


def _first(each: Iterator[VolumeInfo]) -> VolumeInfo | None:
    return next(each, None)


def _tagged(tag: str, value: str, known: list[VolumeInfo]) -> VolumeInfo | None:
    plain = value.replace("-", "").casefold()
    match tag:
        case "UUID":
            return _first(each for each in known if each.uuid and each.uuid.replace("-", "").casefold() == plain)
        case "LABEL":
            return _first(each for each in known if each.label == value)
        case "PARTUUID":
            return _first(each for each in known if each.partuuid.casefold() == value.casefold() != "")
        case "PARTLABEL":
            return _first(each for each in known if each.partlabel == value != "")
    return None


def _unescaped(name: str) -> str:
    """udev writes odd characters of a label as \\xNN."""
    raw = re.sub(
        rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), name.encode("utf-8", "surrogateescape")
    )
    return raw.decode("utf-8", "replace")
