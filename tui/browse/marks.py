"""What is marked, across folders: how many, and how many bytes, counted as they come and go."""

from __future__ import annotations

from collections.abc import Iterable

from engines.backup.files.model import Node
from tui.browse.words import brief


class Marks:
    """Paths with their nodes, in the order they were marked."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.uncounted: dict[bytes, None] = {}  # folders that nobody has looked into yet, in order
        self._inside: dict[bytes, tuple[int, int]] = {}
        self._folders = self._within = self._bytes = 0

    def turn(self, path: bytes, node: Node) -> None:
        """Mark it, or take its mark away."""
        if path in self.nodes:
            self.drop([path])
        else:
            self.add([(path, node)])

    def add(self, found: Iterable[tuple[bytes, Node]]) -> None:
        """Mark what is not marked yet."""
        for path, node in found:
            if path in self.nodes:
                continue
            self.nodes[path] = node
            if node.is_folder:
                self._folders += 1
                self.uncounted[path] = None
            elif node.is_file:
                self._bytes += node.size

    def drop(self, paths: Iterable[bytes]) -> None:
        """Take marks away."""
        for path in paths:
            node = self.nodes.pop(path)
            self.uncounted.pop(path, None)
            files, size = self._inside.pop(path, (0, node.size if node.is_file else 0))
            self._folders -= node.is_folder
            self._within -= files
            self._bytes -= size

    def counted(self, path: bytes, files: int, size: int) -> None:
        """What is below a marked folder."""
        if path in self.uncounted:
            del self.uncounted[path]
            self._inside[path] = (files, size)
            self._within += files
            self._bytes += size

    def words(self) -> str:
        """`Marked: 2 files and 1 folder with 40 files, 12.3M`; empty where nothing is."""
        if not self.nodes:
            return ""
        files = len(self.nodes) - self._folders
        parts = [_several(files, "file")] if files else []
        if self._folders:
            parts.append(f"{_several(self._folders, 'folder')} with {_several(self._within, 'file')}")
        size = brief(self._bytes) + (" bytes" if self._bytes < 10000 else "")
        return f"Marked: {' and '.join(parts)}, {size}" + (", still counting" if self.uncounted else "")


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
