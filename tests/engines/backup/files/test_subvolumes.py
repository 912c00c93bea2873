"""A subvolume of btrfs is a volume: listed without an appliance, reached by name, told where no path leads to it."""

from __future__ import annotations

import fcntl
import os
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from engines.backup.files.model import BrowseError, Volume, VolumeInfo
from engines.backup.files.opening import open_tree
from engines.backup.files.tree import Tree
from engines.backup.files.volumes.btrfs import subvolumes
from engines.backup.files.volumes.window import Window
from tests.engines.backup.files.folder_volume import FolderVolume
from tests.engines.backup.files.images import MIB, Image, blank, ext, mounted, run, table

SUBVOLUMES = ("@", "@/home", "@/deep/er/data", "@/.snapshots", "@/.snapshots/1/snapshot", "odd:one", "gone")
SUBVOL_CREATE = 0x5000940E  # linux/btrfs.h
UUID = "11111111-2222-3333-4444-555555555555"


def filled(image: Path) -> None:
    with mounted(image) as root:
        for path in SUBVOLUMES:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            run("btrfs", "subvolume", "create", root / path)
        run("btrfs", "subvolume", "delete", root / "gone")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = blank(tmp_path_factory.mktemp("btrfs") / "disk", 80 * MIB)
    run("mkfs.btrfs", "-q", "--mixed", "-U", UUID, image)
    filled(image)
    return image


def names(found: dict[int, bytes]) -> list[str]:
    return sorted(path.decode() for path in found.values())


WANTED = sorted("/" + path for path in SUBVOLUMES[:-1])


@pytest.mark.parametrize(
    "options", [("--mixed",), ("-n", "4096"), ("-n", "65536", "-m", "single"), ("--csum", "xxhash", "-m", "dup")]
)
def test_every_subvolume_is_found_in_its_folder(tmp_path: Path, options: tuple[str, ...]) -> None:
    image = blank(tmp_path / "disk", 128 * MIB)
    run("mkfs.btrfs", "-q", *options, image)
    filled(image)
    assert names(subvolumes.found(Window(Image(image), 0, 128 * MIB))) == WANTED


def test_they_are_volumes_of_the_disk_beside_the_others(tmp_path: Path, image: Path) -> None:
    other = ext(tmp_path / "other", 8 * MIB)
    disk = table(tmp_path / "disk", "gpt", [(image, ""), (other, "")], 96 * MIB)
    with open_tree(Image(disk)) as tree:
        found = [name for name, info in tree.infos.items() if info.subvolume]
        at = {tree.infos[name].subvolume: tree.located(f"/{name}/file".encode()) for name in found}
    assert found[:4] == ["p1.@", "p1.@..snapshots", "p1.@..snapshots.1.snapshot", "p1.@.deep.er.data"]
    assert sorted(at) == WANTED
    assert all(place == ("p1", f"{path}/file".encode()) for path, place in at.items())
    odd = next(name for name, info in tree.infos.items() if info.subvolume == "/odd:one")
    assert odd.startswith("p1.") and odd[3:].isdigit()  # a colon ends a volume's name


def test_a_single_btrfs_stays_one_whose_paths_need_no_volume(image: Path) -> None:
    with open_tree(Image(image)) as tree:
        assert tree.single
        assert "disk.@.home" in tree.infos


def hurt(image: Path, to: Path) -> Path:
    """A copy without its tree of trees."""
    raw = bytearray(image.read_bytes())
    for at in range(1 * MIB, len(raw), 4096):
        if raw[at + 88 : at + 96] == bytes([1, 0, 0, 0, 0, 0, 0, 0]):
            raw[at : at + 4096] = bytes(4096)
    to.write_bytes(raw)
    return to


def test_trees_that_are_damaged_are_told(image: Path, tmp_path: Path) -> None:
    with pytest.raises(BrowseError, match="damaged"):
        subvolumes.found(Window(Image(hurt(image, tmp_path / "hurt")), 0, 80 * MIB))


class Counted:
    """An appliance whose one file system is a folder; `asked`: what it was started for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []

    def infos(self) -> tuple[VolumeInfo, ...]:
        return ()

    def open(self, info: VolumeInfo) -> Volume:
        self.asked.append(info.name)
        volume = FolderVolume(self.root, info.name)
        volume.info, volume.subvolumes = info, {256: b"/@", 257: b"/@/home"}
        return volume


def test_the_appliance_tells_what_is_not_known_once_it_is_asked_for(tmp_path: Path, image: Path) -> None:
    (tmp_path / "root/@/home/ann").mkdir(parents=True)
    parts: list[tuple[Path | None, str]] = [(hurt(image, tmp_path / "hurt"), ""), (ext(tmp_path / "boot", 8 * MIB), "")]
    disk = table(tmp_path / "disk", "gpt", parts, 96 * MIB)
    for ask in (
        lambda tree: tree.stat(b"/p1.@.home/ann"),
        lambda tree: list(tree.list(b"/")),
        lambda tree: tree.listed(),
    ):
        appliance = Counted(tmp_path / "root")
        with open_tree(Image(disk), appliance=appliance) as tree:
            assert b"lost+found" in {node.name for node in tree.list(b"/p2")}
            assert (appliance.asked, list(tree.infos)) == ([], ["p1", "p2"])
            assert "p1: its subvolumes are not known: btrfs" in tree.notes[0]
            ask(tree)
            assert (appliance.asked, list(tree.infos)) == (["p1"], ["p1", "p2", "p1.@", "p1.@.home"])
            assert tree.notes == ()


def test_as_many_as_docker_makes_are_found_each_in_one_deep_folder(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk", 256 * MIB)
    run("mkfs.btrfs", "-q", "-n", "4096", "-m", "single", image)
    with mounted(image) as root:
        deep = root / "@/var/lib/docker/btrfs/subvolumes"
        run("btrfs", "subvolume", "create", root / "@")
        deep.mkdir(parents=True)
        folder = os.open(deep, os.O_RDONLY)
        try:
            for number in range(400):
                fcntl.ioctl(folder, SUBVOL_CREATE, bytearray(struct.pack("<q4088s", 0, b"%064x" % number)))
        finally:
            os.close(folder)
    assert len(subvolumes.found(Window(Image(image), 0, 256 * MIB))) == 401


@pytest.fixture(scope="module")
def large_nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = blank(tmp_path_factory.mktemp("large") / "disk", 128 * MIB)
    run("mkfs.btrfs", "-q", "-n", "65536", "-m", "single", image)
    return image


@pytest.mark.parametrize(
    ("name", "parent", "why"),
    [
        (b"x" * 8000, lambda number: number - 1, "names that are none"),
        (b"x/y", lambda number: 5, "names that are none"),
        (b"x" * 255, lambda number: number - 1, "too deep"),
        (b"x", lambda number: number + 1, "lie in one another"),
        (b"x", lambda number: number ^ 1, ""),  # in pairs, each within the other
    ],
    ids=["long", "slash", "deep", "nested", "circles"],
)
def test_trees_made_to_do_harm_take_little_memory(
    large_nodes: Path, tmp_path: Path, name: bytes, parent: Callable[[int], int], why: str
) -> None:
    """2,600 subvolumes in one node, whose names are all the same bytes of it."""
    raw = bytearray(large_nodes.read_bytes())
    row = struct.pack("<QQH", 256, 1, len(name)) + name
    count = (65536 - 101 - len(row)) // 25
    items = b"".join(
        struct.pack("<QBQII", number, 144, 5 if number == 256 else parent(number), 65536 - 101 - len(row), len(row))
        for number in range(256, 256 + count)
    )
    for at in range(1 * MIB, len(raw), 4096):
        if raw[at + 88 : at + 96] == bytes([1, 0, 0, 0, 0, 0, 0, 0]) and raw[at + 100] == 0:
            raw[at + 96 : at + 100] = struct.pack("<I", count)
            raw[at + 101 : at + 65536] = items.ljust(65536 - 101 - len(row), b"\0") + row
    (tmp_path / "hostile").write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(BrowseError, match=why) if why else nullcontext():
            assert len(subvolumes.found(Window(Image(tmp_path / "hostile"), 0, len(raw)))) == 2
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


# ── the guest's tree ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def suse(tmp_path: Path) -> Iterator[Tree]:
    """A root in a subvolume, /home in another, and snapshots that its fstab does not name."""
    for path in ("@/etc", "@home/ann", "@snapshots/1", "@snapshots/2"):
        (tmp_path / "p2" / path).mkdir(parents=True)
    (tmp_path / "p2/@/etc/fstab").write_text("/dev/vda2 / btrfs subvol=@\n/dev/vda2 /home btrfs subvol=/@home\n")
    (tmp_path / "p2/@/etc/passwd").touch()
    (tmp_path / "p2/@/home").mkdir()
    (tmp_path / "p2/@snapshots/1/kept").touch()
    whole = VolumeInfo(name="p2", format="btrfs", offset=0, size=0, drivers=("libguestfs",))
    inner = [
        msgspec.structs.replace(whole, name=f"p2.{path.replace('/', '.')}", within="p2", subvolume=f"/{path}")
        for path in ("@", "@home", "@snapshots", "@snapshots/1")
    ]
    other = VolumeInfo(name="p1", format="vfat", offset=0, size=0, drivers=("quick",))
    (tmp_path / "p1").mkdir()

    def opened(info: VolumeInfo) -> FolderVolume:
        volume = FolderVolume(tmp_path / info.name, info.name)
        volume.info = info
        return volume

    yield Tree((other, whole, *inner), opened)


def test_a_name_reaches_it_and_its_links_stay_within(suse: Tree) -> None:
    assert [node.name for node in suse.list(b"/p2.@snapshots")] in ([b"1", b"2"], [b"2", b"1"])
    assert suse.stat(b"/p2.@snapshots.1/kept").is_file
    assert suse.stat(b"/home/ann").is_folder
    assert suse.located(b"/home/ann") == suse.located(b"/p2.@home/ann")


def test_the_list_names_all_and_a_walk_goes_over_nothing_twice(suse: Tree) -> None:
    top = {node.name for node in suse.list(b"/")}
    assert {b"p1", b"p2", b"p2.@", b"p2.@home", b"p2.@snapshots", b"p2.@snapshots.1"} <= top
    walked = [path for path, _ in suse.walk(b"/")]
    assert b"/home/ann" in walked
    assert not [path for path in walked if path.startswith(b"/p2")]


def test_what_no_path_of_the_guest_leads_to_is_told(suse: Tree) -> None:
    suse.guest()
    assert suse.known is not None
    assert suse.known.notes == (
        "subvolumes beside the guest's tree, each by its name (p2.@snapshots:/): p2.@snapshots",
    )
