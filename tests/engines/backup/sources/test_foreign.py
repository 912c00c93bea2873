"""Another hypervisor's image is named, with the way to convert it; a disk that begins like one is taken by --format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.backup.sources.opening import open_source
from engines.job.errors import Refused
from tests.engines.backup.files.images import MIB, run

KINDS = {
    "vmdk": ("vmdk", "monolithicSparse"),
    "flat.vmdk": ("vmdk", "monolithicFlat"),
    "stream.vmdk": ("vmdk", "streamOptimized"),
    "vdi": ("vdi", ""),
    "dynamic.vhd": ("vpc", "dynamic"),
    "fixed.vhd": ("vpc", "fixed"),
    "vhdx": ("vhdx", ""),
    "qed": ("qed", ""),
    "parallels": ("parallels", ""),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_named_and_not_taken_as_a_disk(tmp_path: Path, name: str) -> None:
    driver, kind = KINDS[name]
    image = tmp_path / f"no-ending-{name.replace('.', '-')}"
    run("qemu-img", "create", "-q", "-f", driver, *(("-o", f"subformat={kind}") if kind else ()), image, "8M")
    with pytest.raises(Refused, match="whose bytes are not those of the disk") as told, open_source(str(image)):
        pass
    assert f"qemu-img convert -f {driver} " in told.value.what_helps
    run(*told.value.what_helps.split(";")[0].removeprefix("convert it: ").replace("NEW", f"{tmp_path}/new").split())
    with open_source(str(image), "raw") as source:
        assert source.size == image.stat().st_size


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("flat.vmdk", lambda raw: b"# made by hand\n\n" + raw),
        ("flat.vmdk", lambda raw: raw.split(b"\n", 1)[1]),
        ("flat.vmdk", lambda raw: raw.replace(b"\n", b"\r\n")),
        ("stream.vmdk", lambda raw: bytes(512) + raw[512:] + bytes(512) + raw[:512] + bytes(512)),  # VMware's footer
        ("dynamic.vhd", lambda raw: bytes(512) + raw[512:]),
        ("dynamic.vhd", lambda raw: raw[:-512]),
        ("vhdx", lambda raw: bytes(65536) + raw[65536:]),
    ],
)
def test_it_is_named_though_its_first_bytes_are_lost_or_others(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    driver, kind = KINDS[name]
    image, plain = tmp_path / "image", tmp_path / "plain"
    plain.write_bytes(b"disk" * 100_000)
    run("qemu-img", "convert", "-f", "raw", "-O", driver, *(("-o", f"subformat={kind}") if kind else ()), plain, image)
    image.write_bytes(change(image.read_bytes()))
    with pytest.raises(Refused, match="whose bytes are not those of the disk"), open_source(str(image)):
        pass


def test_an_ordinary_disk_is_taken(tmp_path: Path) -> None:
    image = tmp_path / "disk.vmdk"
    image.write_bytes(b"\xeb\x63" + bytes(MIB - 2))
    with open_source(str(image)) as source:
        assert source.size == MIB


@pytest.mark.parametrize("line", [b"#\r\n", b"\r\n", b" \t#\r\r\n", b"  \n"])
def test_lines_that_a_guest_wrote_are_read_in_no_time(tmp_path: Path, line: bytes) -> None:
    image = tmp_path / "disk"
    image.write_bytes((line * 1000)[:4000] + b"x" * MIB)
    with open_source(str(image)) as source:
        assert source.size > MIB
