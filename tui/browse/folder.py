"""The entries of a folder, kept in order while they arrive: folders first, then by name."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from engines.backup.files.model import Node

Keyed = list[tuple[bytes, Node]]


class Folder:
    """Entries sorted in runs that double: no single step over a million of them holds the screen up."""

    def __init__(self) -> None:
        self._runs: list[Keyed] = []
        self.count = 0

    def add(self, nodes: Iterable[Node]) -> None:
        """Take in what was found."""
        run = sorted(((_key(node), node) for node in nodes), key=itemgetter(0))
        self.count += len(run)
        while self._runs and len(self._runs[-1]) <= len(run):
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)

    def nodes(self) -> list[Node]:
        """All entries, in order."""
        while len(self._runs) > 1:
            self._runs.append(_merged(self._runs.pop(), self._runs.pop()))
        return [node for _, node in self._runs[0]] if self._runs else []


def _merged(one: Keyed, other: Keyed) -> Keyed:
    return sorted(one + other, key=itemgetter(0))  # two sorted runs: timsort only merges them


def _key(node: Node) -> bytes:
    return (b"0" if node.is_folder else b"1") + node.name


def narrowed(nodes: list[Node], needle: str) -> list[Node]:
    """The entries whose name has `needle` in it, capitals not minded in ASCII."""
    wanted = needle.encode("utf-8", "surrogateescape").lower()
    return [node for node in nodes if wanted in node.name.lower()] if wanted else nodes
