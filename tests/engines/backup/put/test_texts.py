"""What a plan shows of two versions of a file: texts as guests write them, and never a text that is none."""

from __future__ import annotations

import pytest

from engines.backup.put import texts
from engines.job.contract import TextChange
from engines.job.diff import unified

INI = "[boot]\r\nname=für\r\n"
OTHER = "[boot]\r\nname=über\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_text_of_either_encoding_is_shown(encoding: str) -> None:
    found = texts.pair(INI.encode(encoding), OTHER.encode(encoding))
    assert found is not None
    told = unified(TextChange(target="p1:/boot.ini", before=found[0], after=found[1]))
    assert "-name=für\r\n+name=über\r\n" in told
    assert texts.pair(b"", OTHER.encode(encoding)) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x7fELF\1\1\1\0", b"text\n"),
        (b"\xff\xfea\0\0\0", b"\xff\xfeb\0\0\0"),
        (INI.encode("utf-16-be"), INI.encode("utf-16-le")),
        ("5 €\n".encode("cp1252"), "6 €\n".encode("cp1252")),  # what Windows has beyond Latin-1 is not guessed
        (b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\n"),
        ("\ufeffa".encode("utf-16-le"), "\ufeffa".encode("utf-16-be")),  # the same text: its bytes are what changes
    ],
)
def test_what_is_no_text_or_the_same_in_other_bytes_is_shown_by_size(old: bytes, new: bytes) -> None:
    assert texts.pair(old, new) is None


def test_an_encoding_that_changes_is_seen() -> None:
    assert texts.pair(INI.encode("latin-1"), INI.encode()) == (INI, INI.encode().decode("latin-1"))


def test_a_last_line_without_its_newline_and_a_very_long_one_are_told_as_they_are() -> None:
    long = b"x" * 60_000
    found = texts.pair(long + b"\nend", long + b"\nend\n")
    assert found is not None
    assert "-end\n\\ No newline at end of file\n+end\n" in unified(
        TextChange(target="a", before=found[0], after=found[1])
    )
