"""What the file browser shows of a folder, a name, a time and a content, without its pages."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from engines.backup.files.model import Node
from tui.browse.finding import matcher
from tui.browse.folder import Folder
from tui.browse.marks import Marks
from tui.browse.preview import hex_lines, text_lines
from tui.browse.words import brief, line


def node(name: bytes, mode: int = 0o100644, size: int = 0, **more: int) -> Node:
    return Node(name=name, inode=1, mode=mode, size=size, **more)  # type: ignore[arg-type]


def test_a_folder_is_in_order_however_its_entries_come() -> None:
    rng = random.Random(3)
    names = [b"%05d" % at for at in range(3000)]
    nodes = [node(name, 0o40755 if int(name) % 5 == 0 else 0o100644) for name in names]
    rng.shuffle(nodes)
    folder = Folder()
    while nodes:
        batch, nodes = nodes[: (size := rng.randrange(1, 400))], nodes[size:]
        folder.add(batch)
    found = folder.nodes()
    assert [each.name for each in found] == [n for n in names if int(n) % 5 == 0] + [n for n in names if int(n) % 5]
    assert folder.count == 3000


def test_marks_add_up_and_come_back_to_nothing() -> None:
    marks = Marks()
    marks.add([(b"/a", node(b"a", size=20_000)), (b"/d", node(b"d", 0o40755)), (b"/l", node(b"l", 0o120777))])
    assert marks.words() == "Marked: 2 files and 1 folder with 0 files, 19.5K, still counting"
    marks.counted(b"/d", 5, 1 << 20)
    assert marks.words() == "Marked: 2 files and 1 folder with 5 files, 1.0M"
    marks.turn(b"/d", node(b"d", 0o40755))
    marks.counted(b"/d", 5, 1 << 20)
    marks.drop([b"/a", b"/l"])
    assert marks.words() == ""


@pytest.mark.parametrize(
    ("wanted", "name", "fits"),
    [
        ("conf", b"nginx.CONF", True),
        ("*.conf", b"nginx.conf", True),
        ("*.conf", b"nginx.conf.bak", False),
        ("b\udcff", b"ab\xffc", True),
        ("a?c*", b"a\xffcd", True),
        ("[ab]x", b"bx", True),
    ],
)
def test_a_name_is_found_by_a_part_or_a_pattern(wanted: str, name: bytes, fits: bool) -> None:
    assert matcher(wanted)(name) is fits


@pytest.mark.parametrize("mtime", [-(1 << 62), 1 << 62, 0, 253402300800 * 10**9])
def test_no_time_and_no_size_breaks_a_column(mtime: int) -> None:
    told = line(node(b"n", size=10 << 40, mtime=mtime))
    assert told.index(" n") == 36
    assert brief(10 << 40) == "10.0T"
    assert all(len(brief(1 << at)) <= 6 for at in range(64))


def test_a_preview_is_characters_only() -> None:
    assert text_lines(b"one\r\n\ttwo\x1b[2J", 40) == ["one", "        two\\x1b[2J"]
    assert hex_lines(bytes(range(17)))[1] == f"00000010  {'10':<23}  {'':<23}  ."
    with suppress(UnicodeDecodeError):
        assert all(part.isprintable() for part in text_lines(random.Random(1).randbytes(65536), 77))
