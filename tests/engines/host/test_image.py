"""No format is believed of a guest, and no image leads to a file that nobody meant."""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path

import pytest

from engines.backup.sources import nbd
from engines.backup.sources.opening import open_source
from engines.backup.sources.options import SourceOptions
from engines.backup.sources.qcow2 import trusted
from engines.guest import overlay, target
from engines.host import image, libvirt
from engines.host.qemu_img import QemuImgFailed, qemu_img
from engines.job.errors import Refused
from tests.engines.guest.images import raw

SECRET = b"another tenant's secret"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another tenant's disk, in a folder of its own."""
    (tmp_path / "other").mkdir()
    path = raw(tmp_path / "other" / "disk.img")
    with path.open("r+b") as stream:
        stream.seek(2 << 20)
        stream.write(SECRET * 100)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def create(path: Path, *words: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), "8M"], check=True)
    return path


@pytest.fixture
def faked(own: Path, other: Path) -> Path:
    """A raw disk whose guest wrote a qcow2 header into it, with the other's disk as its backing file."""
    header = create(own / "header", "-b", str(other), "-F", "raw").read_bytes()
    (own / "header").unlink()
    path = raw(own / "web1.img")
    with path.open("r+b") as stream:
        stream.write(header[:510] + b"\x55\xaa" + header[512:])
    return path


def test_a_header_that_a_guest_can_fake_is_refused_by_all(faked: Path) -> None:
    with pytest.raises(Refused, match="a guest can fake") as refused:
        target.look(faked)
    assert "--format raw" in refused.value.what_helps
    with pytest.raises(Refused, match="a guest can fake"), open_source(str(faked)):
        pass


def test_raw_is_honoured_and_the_other_disk_is_not_read(faked: Path) -> None:
    assert target.look(faked, "raw").format == "raw"
    with open_source(str(faked), "raw") as source:
        content = bytearray(source.size)
        source.read_into(0, memoryview(content))
    assert bytes(content) == faked.read_bytes() and SECRET not in content


@pytest.mark.parametrize("magic", [*target.OTHERS])
def test_raw_is_honoured_whatever_the_first_bytes_are(own: Path, magic: bytes) -> None:
    path = raw(own / "disk")
    with path.open("r+b") as stream:
        stream.write(magic)
    assert target.look(path, "raw").format == "raw"
    with pytest.raises(Refused):
        target.look(path)


def test_qcow2_that_is_wanted_or_named_so_is_opened_by_that_format(own: Path) -> None:
    named, other = create(own / "a.qcow2"), create(own / "b.img")
    assert target.look(named).format == "qcow2"
    assert target.look(other, "qcow2").format == "qcow2"
    with pytest.raises(Refused, match="does not begin like qcow2"):
        target.look(raw(own / "c.img"), "qcow2")


DOMAIN = """<domain><name>web1</name><devices><disk type='file'>
<driver name='qemu' type='{form}'/><source file='{path}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_a_libvirt_domain_says_the_format(own: Path, tmp_path: Path, form: str) -> None:
    path = create(own / "disk")
    (tmp_path / "web1.xml").write_text(DOMAIN.format(form=form, path=path))
    assert libvirt.format_of(path, [tmp_path]) == form
    (tmp_path / "web2.xml").write_text(DOMAIN.format(form="vmdk", path=path))
    assert libvirt.format_of(path, [tmp_path]) == ""


# ── what lies below ─────────────────────────────────────────────────────────────────────────────────


def refused(path: Path, *allowed: str) -> str:
    """How both ways of opening it refuse it, which is the same."""
    with pytest.raises(Refused) as one:
        target.look(path, "qcow2", allowed)
    wish = SourceOptions(backing=allowed)
    with pytest.raises(Refused) as two, open_source(str(path), "qcow2", wish):
        pass
    assert one.value.why == two.value.why
    return str(one.value)


def test_a_backing_file_in_another_folder_needs_its_own_word(own: Path, other: Path) -> None:
    path = create(own / "a.qcow2", "-b", str(other), "-F", "raw")
    assert f"--backing {other}" in refused(path)
    assert target.look(path, "", [str(other)]).backing == str(other)
    with open_source(str(path), "auto", SourceOptions(backing=(str(other),))) as source:
        assert source.size == 8 << 20


def test_one_in_the_same_folder_needs_none_but_what_lies_below_that_does(own: Path, other: Path) -> None:
    create(own / "middle.qcow2", "-b", str(other), "-F", "raw")
    path = create(own / "top.qcow2", "-b", "middle.qcow2", "-F", "qcow2")
    assert "lies outside its folder" in refused(path)
    assert target.look(path, "", [str(other)]).backing == str(own / "middle.qcow2")


def test_a_link_in_the_folder_does_not_lead_out_of_it(own: Path, other: Path) -> None:
    (own / "base").symlink_to(other)
    assert "lies outside its folder" in refused(create(own / "a.qcow2", "-b", "base", "-F", "raw"))


def test_a_backing_file_without_a_format_is_not_guessed(own: Path) -> None:
    raw(own / "base")
    path = create(own / "a.qcow2", "-b", "base", "-F", "raw")
    path.write_bytes(path.read_bytes().replace(image.BACKING_FORMAT.to_bytes(4, "big"), b"\0" * 4))
    assert "no format" in refused(path) and "qemu-img rebase" in refused(path)


@pytest.mark.parametrize(
    "name", ['json:{"driver":"raw"}', "nbd://host/x", "fat:rw:/etc", "http://host/x", "blkdebug::x"]
)
def test_a_backing_file_that_is_no_path_is_refused(own: Path, name: str) -> None:
    assert "is no path" in refused(create(own / "a.qcow2", "-u", "-b", name, "-F", "raw"), name)


def test_data_in_another_file_is_refused_before_any_tool_sees_it(own: Path, other: Path) -> None:
    path = create(own / "a.qcow2", "-o", f"data_file={own / 'data'},data_file_raw=on")
    assert "keeps its data in another file" in refused(path)


def test_a_chain_that_bites_its_tail_is_refused(own: Path) -> None:
    create(own / "a.qcow2")
    create(own / "b.qcow2", "-b", "a.qcow2", "-F", "qcow2")
    subprocess.run(
        ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", str(own / "a.qcow2")], check=True
    )
    assert "without an end" in refused(own / "b.qcow2")


def reads(layer: Path) -> bytes:
    """What a layer over an image shows of the disk's first bytes."""
    out = layer.parent / "out"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(layer), str(out)], check=True)
    return out.read_bytes()[:4]


@pytest.mark.parametrize("changed", ["a.qcow2", "b.qcow2", "c.qcow2"])
def test_what_a_header_names_after_the_look_is_not_followed(own: Path, tmp_path: Path, changed: str) -> None:
    """Each file of the chain is opened by what was seen, never by a name that it holds by now."""
    (other := tmp_path / "victim").write_bytes(b"them" + bytes((8 << 20) - 4))
    (base := raw(own / "base")).write_bytes(b"ours" + bytes((8 << 20) - 4))
    create(own / "a.qcow2", "-b", base.name, "-F", "raw")
    create(own / "b.qcow2", "-b", "a.qcow2", "-F", "qcow2")
    path = create(own / "c.qcow2", "-b", "b.qcow2", "-F", "qcow2")
    seen, layers = target.look(path, "qcow2"), trusted(path, ())
    argv = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", str(other), "-F", "raw", str(own / changed)]
    subprocess.run(argv, check=True)
    (folder := tmp_path / "scratch").mkdir()
    assert reads(overlay.create(seen, folder).top) == b"ours"
    with nbd.served(layers, None, "") as source:
        buffer = bytearray(4)
        source.read_into(0, memoryview(buffer))
    assert buffer == b"ours"


def test_an_image_that_has_nothing_below_it_stays_so(own: Path, tmp_path: Path) -> None:
    (other := tmp_path / "victim").write_bytes(b"them" + bytes((8 << 20) - 4))
    path = create(own / "a.qcow2")
    seen = target.look(path, "qcow2")
    argv = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", str(other), "-F", "raw", str(path)]
    subprocess.run(argv, check=True)
    (folder := tmp_path / "scratch").mkdir()
    assert reads(overlay.create(seen, folder).top) == bytes(4)


def test_a_chain_of_many_files_with_long_names_is_read_through(own: Path, tmp_path: Path) -> None:
    below = raw(own / "base")
    below.write_bytes(b"ours" + bytes((8 << 20) - 4))
    for number in range(6):
        below = create(own / f"{number:03}{'x' * 120}.qcow2", "-b", below.name, "-F", "qcow2" if number else "raw")
    (folder := tmp_path / "scratch").mkdir()
    assert reads(overlay.create(target.look(below, "qcow2"), folder).top) == b"ours"


@pytest.mark.parametrize(
    ("name", "files"),
    [("я" * 60, 1), ("ж:" * 40, 2), ("x" * 250, 1), ('a"\\' * 60, 1)],
    ids=["cyrillic", "colons", "long", "escaped"],
)
def test_a_chain_of_any_letters_is_read_through(own: Path, tmp_path: Path, name: str, files: int) -> None:
    below = raw(own / name)
    below.write_bytes(b"ours" + bytes((8 << 20) - 4))
    for number in range(files):
        above = own / f"{number}{name[:-1]}"
        below = create(above, "-b", f"./{below.name}", "-F", "qcow2" if number else "raw")
    (folder := tmp_path / "scratch").mkdir()
    seen = target.look(below, "qcow2")
    assert reads(overlay.create(seen, folder).top) == b"ours"
    asked = ["qemu-img", "map", image.opened([(seen.source, "qcow2"), *seen.below])]
    subprocess.run(asked, check=True, capture_output=True)


@pytest.mark.parametrize("length", [70_000, 1 << 30])
def test_an_extension_that_hides_others_behind_it_is_seen_through(own: Path, length: int) -> None:
    """QEMU passes over one that it does not know, and takes the format that stands behind it."""
    raw(own / "base")
    path = create(own / "a.qcow2", "-o", "cluster_size=2M", "-b", "base", "-F", "raw")
    whole = bytearray(path.read_bytes())
    at = int.from_bytes(whole[100:104], "big")
    hidden = struct.pack(">II", 0x11223344, length) + bytes(length if length < 1 << 20 else 8)
    hidden += struct.pack(">II5s3x", image.BACKING_FORMAT, 5, b"qcow2") + bytes(8)
    whole[8:16] = (1 << 20).to_bytes(8, "big")
    whole[1 << 20 : (1 << 20) + 4] = b"base"
    whole[at : at + len(hidden)] = hidden
    path.write_bytes(whole)
    if length < 1 << 20:
        assert image.header(path).backing_format == "qcow2"
    else:
        assert "cut off" in refused(path)


@pytest.mark.parametrize("cut", [0, 3, 8, 20, 71, 90, 103])
def test_a_header_that_is_cut_off_is_refused(own: Path, cut: int) -> None:
    path = own / "a.qcow2"
    path.write_bytes((b"QFI\xfb" + bytes(3) + b"\x03" + b"\xff" * 100)[:cut])
    with pytest.raises(image.Untrusted):
        image.chain(path)


# ── an end to time and memory ───────────────────────────────────────────────────────────────────────


def test_a_tool_that_does_not_end_is_ended(own: Path) -> None:
    began = time.monotonic()
    with pytest.raises(QemuImgFailed, match="does not come to an end"):
        qemu_img("bench", "-f", "raw", "-c", "100000000", str(raw(own / "disk")), within=1.0)
    assert time.monotonic() - began < 100


def test_a_tool_has_no_more_memory_than_its_own(own: Path) -> None:
    """An L1 table of 32 MiB at most is qcow2's rule; a buffer of 1 TiB is asked for by a size in the command."""
    with pytest.raises(QemuImgFailed):
        qemu_img("bench", "-f", "raw", "-s", "2147483136", "-d", "4", "-c", "8", str(raw(own / "disk")), within=30.0)
