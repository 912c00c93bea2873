"""Disc names that DOS sees the way they are: ISO 9660 level 1, no two alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from engines.job.errors import Refused

DEEPEST = 6  # folders above a file; ISO 9660 allows eight levels with the root, pycdlib seven
DEVICES = {"CON", "PRN", "AUX", "NUL", "CLOCK_"} | {
    f"{kind}{number}" for kind in ("COM", "LPT") for number in range(1, 10)
}


def level1(name: str) -> str:
    """One name in 8.3: upper case, A-Z 0-9 _, a base of 1-8 and an ending of 0-3 characters."""
    base, dot, ending = name.rpartition(".")
    if not dot:
        base, ending = name, ""
    base = _plain(base)[:8] or "_"
    if base in DEVICES:
        base = f"{base[:7]}_" if len(base) > 3 else f"{base}_"
    ending = _plain(ending)[:3]
    return f"{base}.{ending}" if ending else base


def _plain(text: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", text.strip(" ").encode("ascii", "replace").decode().upper())


def folder1(name: str) -> str:
    """One folder's name: a level 1 name without an ending."""
    return level1(name.replace(".", "_"))


def disc_path(path: str) -> str:
    """A whole relative path in level 1 names. Raises Refused where it is too deep."""
    *folders, name = path.split("/")
    if len(folders) > DEEPEST:
        raise Refused(f"{path} lies {len(folders)} folders deep, a disc takes {DEEPEST}", "put it higher up")
    return "/".join([*(folder1(folder) for folder in folders), level1(name)])


def assign(paths: Mapping[str, str], reserved: Iterable[str]) -> dict[str, str]:
    """Disc path by label, from the wanted path by label. A name that is ours gets V_ before it.

    Raises Refused where two are equal in 8.3, naming both labels.
    """
    ours = set(reserved)
    tops = {name.partition("/")[0] for name in ours if "/" in name}
    taken: dict[str, str] = {}
    folders: dict[str, str] = {}
    assigned: dict[str, str] = {}
    for label, path in paths.items():
        disc = disc_path(path)
        top, _, rest = disc.partition("/")
        if rest and top in tops:
            disc = f"{folder1('V_' + top)}/{rest}"
        elif disc in ours or disc in tops:
            disc = level1(f"V_{disc}")
        _claim_folders(path, disc, folders)
        if disc in taken:
            _refuse(taken[disc], label, disc)
        taken[disc] = label
        assigned[label] = disc
    for disc in folders.keys() & taken.keys():
        _refuse(folders[disc], taken[disc], disc)
    return assigned


def _claim_folders(path: str, disc: str, folders: dict[str, str]) -> None:
    originals, names = path.split("/")[:-1], disc.split("/")[:-1]
    for depth in range(1, len(names) + 1):
        name, original = "/".join(names[:depth]), "/".join(originals[:depth])
        if folders.setdefault(name, original) != original:
            _refuse(folders[name], original, name)


def _refuse(one: str, other: str, disc: str) -> None:
    raise Refused(
        f"{one} and {other} are both {disc} in DOS's 8.3 names, so DOS could open the wrong one",
        "leave one of them out, or rename it",
    )
