"""Other hypervisors' images are read by the name they bear, and open no file that is not beside them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engines.guest import copying, overlay, target
from engines.guest.containers import DRIVER, Container
from engines.guest.surgery import Surgery
from engines.job.contract import Cancel, Context
from engines.job.errors import Failed, Refused
from tests.engines.backup.store import crippled
from tests.engines.guest.images import same_disk
from tests.fuzz.mutation import with_an_end

DISK = b"\0" * 510 + b"\x55\xaa" + b"guest" * 100_000


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(DISK.ljust(4 << 20, b"\0"))
    return path


def made(raw: Path, form: str, name: str, *options: str) -> Path:
    path = raw.with_name(name)
    command = ["qemu-img", "convert", "-f", "raw", "-O", form, *options, str(raw), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


WAYS: list[tuple[Container, str, tuple[str, ...]]] = [
    ("vmdk", "web 1.vmdk", ()),
    ("vmdk", "flat.vmdk", ("-o", "subformat=monolithicFlat")),
    ("vmdk", "stream.vmdk", ("-o", "subformat=streamOptimized")),
    ("vdi", "web:1.vdi", ()),
    ("vhd", "web1.vhd", ("-o", "force_size=on")),
    ("vhd", "fixed.vhd", ("-o", "subformat=fixed,force_size=on")),
    ("vhdx", "web1.vhdx", ()),
]


@pytest.mark.parametrize(("form", "name", "options"), WAYS, ids=[f"{way[0]} {way[1]}" for way in WAYS])
def test_its_disk_is_seen_by_its_name_or_by_the_format_that_is_given(
    form: Container, name: str, options: tuple[str, ...], raw: Path, tmp_path: Path
) -> None:
    path = made(raw, DRIVER[form], name, *options) if ":" not in name else raw.with_name(name)
    if ":" in name:
        made(raw, DRIVER[form], "plain").rename(path)
    before = path.read_bytes()
    found = target.look(path, foreign=True)
    assert (found.format, found.disk, found.writable) == (form, 4 << 20, False)
    assert target.look(path, form, foreign=True) == found
    layers = overlay.create(found, tmp_path)
    assert same_disk(layers.top, raw, ("qcow2", "raw"))
    assert path.read_bytes() == before
    with pytest.raises(Refused):
        target.look(path)  # where it would have to be written in place
    assert copying.place(found, "").name == f"{path.stem}.qcow2"


def test_a_disk_that_bears_the_name_only_is_a_disk(raw: Path) -> None:
    assert target.look(raw.rename(raw.with_name("web1.vmdk")), foreign=True).format == "raw"


def test_a_raw_disk_whose_guest_wrote_such_a_header_is_not_opened_by_it(raw: Path) -> None:
    fake = made(raw, "vmdk", "fake.vmdk").rename(raw.with_name("fake.img"))
    os.truncate(fake, 4 << 20)
    with pytest.raises(Refused, match="is vmdk"):
        target.look(fake, foreign=True)
    assert target.look(fake, "raw", bare=True, foreign=True).format == "raw"


def test_a_format_that_it_does_not_have_is_said(raw: Path) -> None:
    with pytest.raises(Refused, match="does not begin like vdi, but like vmdk"):
        target.look(made(raw, "vmdk", "web1.vmdk"), "vdi", foreign=True)


TEXT = """# Disk DescriptorFile
version=1
CID=6a1f0b1c
parentCID={parent}
createType="monolithicFlat"

# Extent description
RW 8192 {extent}
"""


@pytest.mark.parametrize(
    ("parent", "extent", "said"),
    [
        ("ffffffff", 'FLAT "/etc/shadow" 0', "no file beside it"),
        ("ffffffff", 'FLAT "../disk.img" 0', "no file beside it"),
        ("ffffffff", 'FLAT "linked" 0', "no file beside it"),
        ("ffffffff", 'VMFSRDM "disk.img" 0', "no file beside it"),
        ("6a1f0b1c", 'FLAT "disk.img" 0', "snapshot on top of another disk"),
    ],
)
def test_a_vmdk_that_names_a_file_elsewhere_is_refused(raw: Path, parent: str, extent: str, said: str) -> None:
    folder = raw.parent / "guest"
    folder.mkdir()
    (folder / "linked").symlink_to(raw)
    path = folder / "web1.vmdk"
    path.write_text(TEXT.format(parent=parent, extent=extent))
    for wanted in ("", "vmdk"):
        with pytest.raises(Refused, match=said):
            target.look(path, wanted, foreign=True)


def test_a_name_that_is_taken_and_a_folder_that_is_none_are_refused_for_the_new_image(raw: Path) -> None:
    found = target.look(made(raw, "vdi", "web1.vdi"), foreign=True)
    made(raw, "qcow2", "web1.qcow2")
    with pytest.raises(Refused, match=r"web1\.qcow2 exists"):
        copying.place(found, "")
    with pytest.raises(Refused, match="is no folder"):
        copying.place(found, str(raw.parent / "none" / "new.qcow2"))
    assert copying.form(copying.place(found, str(raw.parent / "new.img"))) == "raw"


@pytest.mark.parametrize("pointed", [False, True], ids=["in its description", "where only QEMU looks"])
def test_a_vmdk_that_names_a_parent_without_being_a_snapshot_is_refused(raw: Path, pointed: bool) -> None:
    """QEMU opens the file of that name whatever parentCID says, and looks for it in the second sector."""
    path = made(raw, "vmdk", "web1.vmdk")
    content = bytearray(path.read_bytes())
    harmless = bytes(content[512 : 512 + 20 * 512])
    at = content.index(b"#DDB")
    content[at : at + 60] = b'parentFileNameHint="/srv/other/disk.vmdk"\n'.ljust(60, b"#")
    if pointed:
        end = -(-len(content) // 512)
        content += bytes(end * 512 - len(content)) + harmless
        content[28:36] = end.to_bytes(8, "little")
    path.write_bytes(content)
    told = subprocess.run(["qemu-img", "info", "-f", "vmdk", "-U", path], capture_output=True, check=False)
    assert b"/srv/other/disk.vmdk" in told.stdout + told.stderr
    with pytest.raises(Refused, match="names a parent file"):
        target.look(path, foreign=True)


def test_a_new_image_on_a_file_system_without_links_gets_its_name_and_takes_nobodys(raw: Path, tmp_path: Path) -> None:
    for name in ("behind", "at", "run"):
        (tmp_path / name).mkdir()
    outcome = made(raw, "qcow2", "outcome.qcow2")
    context = Context(cancel=Cancel(), folder=tmp_path / "run")
    with crippled.mounted(tmp_path / "behind", tmp_path / "at") as place:
        surgery = cast(Surgery, SimpleNamespace(target=target.look(raw), outcome=outcome))
        result: dict[str, Any] = {}
        list(copying.copy(surgery, context, place / "new.qcow2", result))
        assert result == {"new_image": str(place / "new.qcow2")}
        assert same_disk(raw, place / "new.qcow2", ("raw", "qcow2"))
        before = (place / "new.qcow2").read_bytes()
        with pytest.raises(Failed, match="cannot be written"):
            list(copying.copy(surgery, context, place / "new.qcow2", result))
        assert (place / "new.qcow2").read_bytes() == before
        assert [path.name for path in place.iterdir()] == ["new.qcow2"]


@pytest.mark.parametrize("filling", [b"\n", b" \n", b"\t", b"RW\n"])
def test_a_description_of_blanks_is_read_in_one_pass(tmp_path: Path, filling: bytes) -> None:
    path = tmp_path / "x.vmdk"
    path.write_bytes(b"# Disk DescriptorFile\n" + filling * (60_000 // len(filling)) + b"parentCID=1\n")
    with with_an_end(), pytest.raises(Refused, match="parentCID 1"):
        target.look(path, foreign=True)
