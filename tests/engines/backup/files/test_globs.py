"""A pattern means what a shell would make of it, whatever the guest's names are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.backup.commands.looks import matches
from engines.backup.files.globs import expanded, matcher
from engines.backup.files.model import NoSuchFile, shown
from engines.backup.files.tree import Tree
from tests.engines.backup.files.folder_volume import FolderVolume

NAMES = ("a[1]/x.txt", "a1/y.txt", "{b,c}/z", "-rf", ".hid", "für", "f\udcfcr", "new\nline", "top^", "tops", "d/.e/f",
         "s/*/one.txt", "s/other/two.txt")  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return Tree((FolderVolume(tmp_path).info,), lambda _: FolderVolume(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("/a[1]/*.txt", ["/a[1]/x.txt"]),  # a name that is there goes before what it would match
        ("/a[0-9]/*", ["/a1/y.txt"]),
        ("/a[[]1]/x.*", ["/a[1]/x.txt"]),
        ("/{b,c}/*", ["/{b,c}/z"]),
        ("/f?r", ["/für", "/f\udcfcr"]),
        ("/new?line", ["/new\nline"]),
        ("/-*", ["/-rf"]),
        ("/*i*", ["/new\nline"]),
        ("/top[^s]", ["/top^"]),
        ("/top[!s]", ["/top^"]),
        ("/d/.?/*", ["/d/.e/f"]),
        ("/s/*/*.txt", ["/s/*/one.txt", "/s/other/two.txt"]),  # a folder of that very name is one of them
        ("/s/*/t*", ["/s/other/two.txt"]),
        ("/s/*/one.txt", ["/s/*/one.txt"]),
    ],
)
def test_it_finds_what_a_shell_does(tree: Tree, pattern: str, wanted: list[str]) -> None:
    assert sorted(expanded(tree, [os.fsencode(pattern)])) == sorted(map(os.fsencode, wanted))


def test_nothing_is_said_to_be_nothing(tree: Tree) -> None:
    with pytest.raises(NoSuchFile, match="nothing matches"):
        expanded(tree, [b"/a[2-9]/*"])


def test_a_name_as_it_is_shown_finds_itself(tree: Tree) -> None:
    for node in tree.inside(b"/"):
        found = [path for path, _ in matches(tree, b"/", shown(node.name), [])]
        assert b"/" + node.name in found, node.name


@pytest.mark.parametrize(
    ("pattern", "means", "not_these"),
    [
        (b"[[^]x", (b"[x", b"^x"), (b"!x", b"ax")),
        (b"a[^*", (b"a[^b",), (b"a[!b", b"ab")),
        (b"[^a[^]", (b"b",), (b"a", b"[", b"^")),
        (b"[]^]", (b"]", b"^"), (b"!",)),
        (b"[^]a]", (b"b",), (b"]", b"a")),
        (b"[^]", (b"[^]",), (b"^", b"[!]")),
        (b"[!]", (b"[!]",), (b"!",)),
        (b"[]", (b"[]",), (b"]",)),
        (b"[a][^a]", (b"ab", b"a^"), (b"aa",)),
    ],
)
def test_a_caret_negates_only_where_it_begins_what_a_bracket_closes(
    pattern: bytes, means: tuple[bytes, ...], not_these: tuple[bytes, ...]
) -> None:
    fits = matcher(pattern)
    assert [name for name in means if not fits(name)] == []
    assert [name for name in not_these if fits(name)] == []
