"""A finished file gets a name that nobody has."""

from __future__ import annotations

from pathlib import Path

from engines.host.naming import write_new


def test_a_name_of_many_bytes_a_letter_is_given(tmp_path: Path) -> None:
    path = tmp_path / ("ж" * 120)  # 240 bytes of the 255 that a name may have
    write_new(path, b"x")
    assert path.read_bytes() == b"x" and list(tmp_path.iterdir()) == [path]
