"""Which firmware a disk needs, by partition tables that real tools wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engines.boot.firmware import HEAD, needs_uefi

ESP, BIOS = "type=uefi", "type=21686148-6449-6E6F-744E-656564454649"


@pytest.mark.parametrize(
    ("table", "code", "uefi"),
    [
        ("label: dos\nsize=4M,type=83", b"\xeb\x63", False),
        ("label: dos\nsize=4M,type=83", b"", True),
        ("label: dos\nsize=4M,type=ef", b"", True),
        (f"label: gpt\nsize=4M,{ESP}", b"", True),
        (f"label: gpt\nsize=4M,{ESP}", b"\xeb\x63", True),
        (f"label: gpt\nsize=1M,{BIOS}\nsize=4M,{ESP}", b"\xeb\x63", False),
        (f"label: gpt\nsize=1M,{BIOS}\nsize=4M,{ESP}", b"", True),
    ],
)
def test_a_bios_starts_what_has_boot_code_and_a_place_for_its_loader(
    tmp_path: Path, table: str, code: bytes, uefi: bool
) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.truncate(16 << 20)
    subprocess.run(["sfdisk", "-q", disk], input=table.encode(), check=True, capture_output=True)
    with disk.open("r+b") as stream:
        stream.write(code)
    assert needs_uefi(disk.read_bytes()[:HEAD]) is uefi
