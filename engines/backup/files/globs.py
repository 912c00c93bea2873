"""Patterns in a path of a point, matched name by name as a shell does: * ? [abc] [!abc], never across a slash.

`?` is a character of UTF-8, or a byte that is none. A path that is there as it stands goes before what it would match:
so is one named that was picked from a list. So does a part that does not match itself, as [1] does not.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator

from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import BrowseError, NoSuchFile, join, shown
from engines.backup.files.tree import Tree
from engines.job.errors import Failed

SIGNS = re.compile(rb"[*?\[]")
BRACKETS = re.compile(rb"\[(?:([!^])(\][^\]]*\]|[^\]]+\])|\][^\]]*\]|[^\]!^][^\]]*\])|\[")  # closed, or open to the end


Trouble = Callable[[bytes, Failed], None]


def expanded(tree: Tree, paths: Iterable[bytes], trouble: Trouble | None = None) -> list[bytes]:
    """Each path that is there as it stands, else what it matches, sorted. Raises NoSuchFile where that is nothing.

    A folder that cannot be listed to its end goes to `trouble`; it is raised where there is none.
    """
    found: list[bytes] = []
    for path in paths:
        if not SIGNS.search(path) or _is_there(tree, path):
            found.append(path)
            continue
        matches = sorted(_matches(tree, b"/", path[1:].split(b"/"), trouble or _raised))
        if not matches:
            raise NoSuchFile(f"{shown(path)}: nothing matches", "list the folder above it: crashcart backup ls")
        found += matches
    return found


def matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a name is what a pattern means; also of whole paths, where its signs go across slashes."""
    plain = BRACKETS.sub(_bracket, pattern).decode("utf-8", "surrogateescape")
    fits = re.compile(fnmatch.translate(plain)).match
    return lambda name: fits(name.decode("utf-8", "surrogateescape")) is not None


def _bracket(found: re.Match[bytes]) -> bytes:
    """As fnmatch writes it: `!` negates, and a bracket that is never closed stands for itself."""
    if found[0] == b"[":
        return b"[[]"
    return b"[!" + found[2] if found[1] else found[0]


def _raised(_: bytes, error: Failed) -> None:
    raise error


def _is_there(tree: Tree, path: bytes) -> bool:
    try:
        tree.stat(path)
    except (BrowseError, Damaged, Missing):
        return False
    return True


def _matches(tree: Tree, folder: bytes, parts: list[bytes], trouble: Trouble) -> Iterator[bytes]:
    part, rest = parts[0], parts[1:]
    for path in _named(tree, folder, part, trouble):
        if not rest:
            yield path
        elif _lists(tree, path):
            yield from _matches(tree, path, rest, trouble)


def _named(tree: Tree, folder: bytes, part: bytes, trouble: Trouble) -> Iterator[bytes]:
    """Entries that a part means; names that begin with a dot only where the pattern does."""
    means = matcher(part) if SIGNS.search(part) else None
    if (means is None or not means(part)) and _is_there(tree, join(folder, part)):
        yield join(folder, part)
        return
    if means is None:
        return
    try:
        for node in tree.inside(folder):
            if means(node.name) and node.name.startswith(b".") <= part.startswith(b"."):
                yield join(folder, node.name)
    except (BrowseError, Damaged, Missing) as error:
        trouble(folder, error)


def _lists(tree: Tree, path: bytes) -> bool:
    try:
        return tree.stat(tree.resolve(path)).is_folder
    except (BrowseError, Damaged, Missing):
        return False
