"""backup ls, find and cat: what is in a restore point, without restoring it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Annotated

import msgspec

from engines.backup.commands.lines import Entry, columns, entry, line, size
from engines.backup.errors import Damaged, Missing
from engines.backup.files.globs import expanded, matcher
from engines.backup.files.model import NOT_REPLAYED, BrowseError, Node, VolumeInfo, join, shown, unescaped
from engines.backup.files.opening import BrowseTree, states
from engines.backup.files.reach import PathInPoint, PathParams, open_place
from engines.job.contract import Look, Note
from engines.job.errors import Failed
from engines.job.params import param

READ = 4 * 1024 * 1024
IN_JSON = 16 * 1024 * 1024  # bytes of a file at most
Pieces = Iterator[str | bytes | Note]


class FindParams(PathParams, frozen=True, kw_only=True):
    """What to look for."""

    pattern: Annotated[
        str, param("Pattern", "* ? and [abc] in a name; with a / in it, the whole path", positional=True)
    ]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What `ls` and `find` give. `volumes` at the top of a disk with several, else `entries`.

    served: by volume, its driver. states: by volume, what is not the whole truth of it.
    """

    point: str
    path: str
    volumes: list[VolumeInfo] = []
    entries: list[Entry] = []
    served: dict[str, str] = {}
    states: dict[str, str] = {}
    notes: list[str] = []


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What `cat --json` gives; `content` is base64."""

    point: str
    file: Entry
    content: str


def _notes(tree: BrowseTree) -> list[str]:
    own = tree.known.notes if tree.known else ()
    return [*tree.notes, *own, *(f"{name}: {_told(state)}" for name, state in states(tree).items())]


def _told(state: str) -> str:
    if NOT_REPLAYED not in state:
        return state
    return f"{state}: what the guest wrote last may be missing here; --driver libguestfs replays it"


def _served(tree: BrowseTree) -> dict[str, str]:
    return {name: volume.driver for name, volume in tree.opened.items()}


# ── ls ──────────────────────────────────────────────────────────────────────────────────────────────


def _nodes(tree: BrowseTree, path: bytes) -> Iterator[Node]:
    """A folder's entries, or the file itself; a link to a folder counts as the folder."""
    node = tree.stat(path)
    inside = node.is_folder or (node.is_link and tree.stat(tree.resolve(path)).is_folder)
    if tree.is_top(path):
        yield from tree.root()
    else:
        yield from tree.list(path) if inside else [node]


def _readable(tree: BrowseTree, path: bytes, trouble: list[str]) -> Iterator[Node]:
    """As many entries as can be read; what stops them, or is damaged among them, goes to `trouble`."""
    tree.stat(path)
    try:
        for node in _nodes(tree, path):
            yield node
            if not node.mode:
                trouble.append(f"{shown(join(path, node.name))} has a damaged inode")
    except (BrowseError, Damaged, Missing) as error:
        trouble.append(f"{shown(path)} cannot be listed to its end: {error.why}")


def _volumes(tree: BrowseTree) -> list[VolumeInfo]:
    known = list(tree.map.volumes) if tree.map else []
    return known + [info for info in tree.listed().values() if info.name not in {each.name for each in known}]


def _asked(tree: BrowseTree, place: PathInPoint, trouble: list[str]) -> list[tuple[bytes, bool]]:
    """What is to be listed, and whether its entries go by their whole paths: those of a pattern do."""

    def told(path: bytes, error: Failed) -> None:
        trouble.append(f"{shown(path)} cannot be listed to its end: {error.why}")

    found = expanded(tree, [place.path], told)
    return [(path, found != [place.path]) for path in found]


def _listed(tree: BrowseTree, place: PathInPoint, trouble: list[str]) -> Iterator[tuple[bytes, Node]]:
    for path, whole in _asked(tree, place, trouble):
        for node in [tree.stat(path)] if whole else _readable(tree, path, trouble):
            yield (path if whole else node.name or path), node


def _is_disk(tree: BrowseTree, place: PathInPoint) -> bool:
    """Whether the volumes are meant: no path is named, or there is no guest's tree that it could be of."""
    return tree.is_top(place.path) and (not place.given or tree.guest() is None)


def _is_top(tree: BrowseTree, place: PathInPoint) -> bool:
    """Whether what is listed has volumes beside it: a single file system may have subvolumes."""
    return place.path == b"/" and len(tree.listed()) > 1


def _ls(params: PathParams) -> Listing:
    with open_place(params, "look") as (tree, place):
        trouble: list[str] = []
        disk, top = _is_disk(tree, place), _is_top(tree, place)
        entries = [] if disk else [entry(path, node) for path, node in _listed(tree, place, trouble)]
        return Listing(
            point=str(place),
            path=shown(place.path),
            volumes=_volumes(tree) if top else [],
            entries=entries,
            served=_served(tree),
            states=states(tree),
            notes=[*_notes(tree), *trouble],
        )


def _ls_lines(params: PathParams) -> Pieces:
    with open_place(params, "look") as (tree, place):
        if _is_disk(tree, place):
            rows = [("volume", "format", "size", "label", "state")]
            rows += [
                (each.name, each.format, size(each.size), each.subvolume or each.label, each.state)
                for each in _volumes(tree)
            ]
            yield from columns([tuple(_plain(cell) for cell in row) for row in rows])
        else:
            trouble: list[str] = []
            for path, node in _listed(tree, place, trouble):
                yield line(path, node)
            yield from map(Note, trouble)
        if _is_top(tree, place) and not _is_disk(tree, place):
            yield Note(f"volumes, each by its name (p1:/path): {', '.join(tree.infos)}")
        yield from map(Note, _notes(tree))


def _plain(cell: str) -> str:
    """A label comes from the guest."""
    return shown(cell.encode("utf-8", "surrogateescape"))


# ── find ────────────────────────────────────────────────────────────────────────────────────────────


def matches(tree: BrowseTree, below: bytes, pattern: str, trouble: list[str]) -> Iterator[tuple[bytes, Node]]:
    """Paths below `below` whose name, or with a slash in the pattern whose whole path, it means; what fails is told.

    The pattern is written as names are shown; a name that is the pattern itself is found, too.
    """
    wanted = unescaped(pattern)
    whole = b"/" in wanted

    def told(path: bytes, error: Failed) -> None:
        trouble.append(f"{shown(path)}: {error.why}")

    means = matcher(wanted)
    for path, node in tree.walk(below, told):
        name = path if whole else path.rsplit(b"/", 1)[-1]
        if name == wanted or means(name):
            yield path, node


def _find(params: FindParams) -> Listing:
    with open_place(params, "look") as (tree, place):
        trouble: list[str] = []
        entries = [entry(path, node) for path, node in matches(tree, place.path, params.pattern, trouble)]
        return Listing(
            point=str(place),
            path=shown(place.path),
            entries=entries,
            served=_served(tree),
            states=states(tree),
            notes=[*_notes(tree), *trouble],
        )


def _find_lines(params: FindParams) -> Pieces:
    with open_place(params, "look") as (tree, place):
        trouble: list[str] = []
        for path, node in matches(tree, place.path, params.pattern, trouble):
            yield line(path, node)
            yield from map(Note, trouble)
            trouble.clear()
        yield from map(Note, [*trouble, *_notes(tree)])


# ── cat ─────────────────────────────────────────────────────────────────────────────────────────────


def _file(tree: BrowseTree, place: PathInPoint) -> tuple[bytes, Node]:
    path = tree.resolve(place.path)
    node = tree.stat(path)
    if node.is_folder:
        raise BrowseError(f"{shown(path)} is a folder", f"list it: crashcart backup ls '{place}:{shown(path)}'")
    if not node.is_file:
        raise BrowseError(f"{shown(path)} is no regular file, it has no bytes to show")
    return path, node


def _cat(params: PathParams) -> Content:
    with open_place(params, "take") as (tree, place):
        path, node = _file(tree, place)
        if node.size > IN_JSON:
            raise BrowseError(f"{shown(path)} has {node.size} bytes, too many for JSON", "leave out --json")
        raw = b"".join(_pieces(tree, path, node.size))
        return Content(point=str(place), file=entry(path, node), content=base64.b64encode(raw).decode())


def _cat_bytes(params: PathParams) -> Pieces:
    with open_place(params, "take") as (tree, place):
        path, node = _file(tree, place)
        yield from map(Note, _notes(tree))
        yield from _pieces(tree, path, node.size)


def _pieces(tree: BrowseTree, path: bytes, length: int) -> Iterator[bytes]:
    for at in range(0, length, READ):
        yield tree.read(path, at, min(READ, length - at))


LOOKS = (
    Look("ls", "list a folder in a restore point", PathParams, _ls, stream=_ls_lines),
    Look("find", "find files in a restore point by name", FindParams, _find, stream=_find_lines),
    Look("cat", "a file's bytes out of a restore point", PathParams, _cat, stream=_cat_bytes),
)
"""The browser's questions, for the CLI."""
