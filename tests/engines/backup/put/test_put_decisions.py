"""What a put decides before it writes: conflicts, links, room, volumes, and a hostile point; in one appliance."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.backup.files import opening
from engines.backup.files.model import Node, VolumeInfo
from engines.backup.files.tree import Tree
from engines.backup.put.operation import Operation, chosen
from engines.backup.put.perform import Evidence, write
from engines.backup.put.placing import PutOptions
from engines.backup.repository.byte_source import open_point
from engines.backup.repository.repository import Repository
from engines.guest.appliance import Appliance
from engines.guest.surgery import Surgery
from engines.job.contract import (
    Cancel,
    Context,
)
from engines.job.errors import Refused
from tests.engines.backup.put.ward import Ward, planned
from tests.engines.guest.images import qemu

pytestmark = pytest.mark.boot


@dataclass
class Theatre:
    """One open surgery on the guest after its accident; what is written to its overlay is thrown away."""

    surgery: Surgery
    tree: Tree

    def operation(self) -> Operation:
        return Operation(self.tree, self.surgery, ExitStack())

    def placed(self, *paths: bytes, at: bytes | None = None, volume: str = "", **wish: Any) -> Operation:
        operation = self.operation()
        operation.place(chosen(self.tree, list(paths)), at, volume, PutOptions(stamp=b".from-x", **wish))
        return operation


@pytest.fixture(scope="module")
def theatre(ward: Ward, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    repository = Repository.open(ward.repo)
    with open_point(repository, repository.resolve(ward.point)) as source:
        tree = opening.open_tree(source, "auto", purpose="take", cancel=Cancel())
        surgery = Surgery.begin(ward.image, Cancel())
        yield Theatre(surgery, tree)
        surgery.close()
        tree.close()


def actions(operation: Operation) -> dict[bytes, str]:
    return {each.place: each.action for target in operation.targets for each in target.placing.placed}


def test_a_file_that_is_there_is_refused_by_name_or_kept_as_was_asked(theatre: Theatre) -> None:
    with pytest.raises(
        Refused, match=r"2 of the files are in the guest already: p2:/etc/hosts, p2:/etc/motd"
    ) as refused:
        theatre.placed(b"/p2/etc")
    assert "--conflict overwrite, rename or skip" in refused.value.what_helps
    assert actions(theatre.placed(b"/p2/etc", conflict="skip"))[b"/etc/motd"] == "keep"
    assert actions(theatre.placed(b"/p2/etc", conflict="rename"))[b"/etc/motd.from-x"] == "create"


def test_a_folder_never_makes_way_for_a_file(theatre: Theatre) -> None:
    with pytest.raises(Refused, match=r"in the way: p2:/srv/www/abs \(a folder where a file would go\)"):
        theatre.placed(b"/p2/srv/www/abs", conflict="overwrite")
    with pytest.raises(Refused, match="/etc/hosts in the guest is no folder and stays what it is"):
        theatre.placed(b"/p2/etc/motd", at=b"/etc/hosts/x")


def test_links_of_the_guest_are_followed_within_its_volume_only(theatre: Theatre) -> None:
    assert actions(theatre.placed(b"/p2/etc/motd", at=b"/var/www/new")) == {
        b"/srv/www/new": "create", b"/srv/www/new/motd": "create",
    }  # fmt: skip
    with pytest.raises(Refused, match="/out in the guest is a link that leads to nothing on that volume"):
        theatre.placed(b"/p2/etc/motd", at=b"/out/x")


def test_what_does_not_fit_is_refused_with_both_figures(theatre: Theatre) -> None:
    with pytest.raises(Refused, match=r"p1 in the guest has \d+ KiB free, \d+ KiB are needed"):
        theatre.placed(b"/p2/srv/www/sparse", at=b"/", volume="p1")


def test_a_volume_that_is_not_there_is_refused_with_those_that_are(theatre: Theatre) -> None:
    with pytest.raises(Refused, match=r"no volume is called p9; there are p1 \(vfat .*\), p2 \(ext4 root\)"):
        theatre.placed(b"/p2/etc/motd", volume="p9")


def test_an_image_in_use_is_refused_before_anything_starts(ward: Ward) -> None:
    image = ward.copy("busy.img")
    with qemu(f"file={image}", "format=raw", "if=virtio"), pytest.raises(Refused, match="a QEMU writes to it"):
        planned(ward.params(image, "/p2/etc/motd"))


class Hostile:
    """A damaged or malicious file system, as a driver might give it."""

    driver = "quick"
    state = ""
    info = VolumeInfo(name="p2", format="ext4", offset=0, size=0)
    names = (b"..", b".", b"", b"../../up", b"a/b", b"nul\0", b"link", b"link", b"late", b"dev", b"wide" * 70, b"no")
    folder = Node(name=b"", inode=2, mode=stat.S_IFDIR | 0o777, size=0)

    def stat(self, path: bytes) -> Node:
        return self.folder

    def list(self, path: bytes) -> Iterator[Node]:
        if path == b"/":
            yield Node(name=b"evil", inode=3, mode=stat.S_IFDIR | 0o6777, size=0)
        elif path == b"/evil":
            for number, name in enumerate(self.names):
                yield Node(name=name, inode=10 + number, mode=stat.S_IFREG | 0o4755, size=4)
            yield Node(name=b"link", inode=4, mode=stat.S_IFLNK | 0o777, size=4, link=b"/etc")
            yield Node(name=b"late", inode=5, mode=stat.S_IFDIR | 0o755, size=0)
            yield Node(name=b"loop", inode=3, mode=stat.S_IFDIR | 0o755, size=0)
            yield Node(name=b"root", inode=2, mode=stat.S_IFDIR | 0o755, size=0)
            yield Node(name=b"raw", inode=6, mode=stat.S_IFBLK | 0o666, size=0, device=(8, 0))
            yield Node(name=b"nowhere", inode=7, mode=stat.S_IFLNK | 0o777, size=0)
            yield Node(name=b"abs", inode=8, mode=stat.S_IFLNK | 0o777, size=11, link=b"/etc/shadow")
            yield Node(name=b"age", inode=9, mode=stat.S_IFREG, size=4, mtime=-(1 << 80), uid=-5)
        else:
            yield Node(name=b"passwd", inode=99, mode=stat.S_IFREG | 0o644, size=4)

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        return b"evil"[offset : offset + length]

    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        yield from ((3, 2), (-5, 2), (1, 1 << 60), (0, 4))

    def attributes(self, path: bytes) -> dict[str, bytes]:
        return {"security.capability": b"x", "user.\x1b[31m": b"\0", "system.secret": b"x"}

    def close(self) -> None:
        """Nothing is open."""


def test_a_hostile_point_writes_nothing_outside_its_folder_and_raises_nobodys_rights(
    theatre: Theatre, ward: Ward, tmp_path: Path
) -> None:
    appliance = theatre.surgery.appliance
    before = everything(appliance, tmp_path)
    tree = Tree((Hostile.info,), lambda _: Hostile())
    operation = Operation(tree, theatre.surgery, ExitStack())
    operation.place(chosen(tree, [b"/"]), b"/in/here", "p2", PutOptions(stamp=b".from-x"))
    evidence = Evidence()
    list(write(operation, Context(cancel=Cancel(), folder=tmp_path), False, evidence))
    after_ = everything(appliance, tmp_path)
    assert all(name.startswith(b"in") for name in after_ - before)
    assert {b"in/here/evil/link", b"in/here/evil/abs", b"in/here/evil/no"} <= after_
    appliance.call("mount_ro", "/dev/sda2", "/")
    modes = {name: appliance.call("lstatns", "/" + name.decode())["st_mode"] for name in after_ - before}
    appliance.call("umount_all")
    assert not any(mode & 0o6000 and not stat.S_ISDIR(mode) for mode in modes.values()), modes
    assert all(stat.S_IFMT(mode) in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK) for mode in modes.values()), modes
    assert before == everything(appliance, tmp_path) - {name for name in after_ if name.startswith(b"in")}
    complaints = " ".join([*operation.lost, *evidence.lacking])
    for wanted in ("a name that no file can have", "goes without its capabilities"):
        assert wanted in complaints, complaints


def everything(appliance: Appliance, folder: Path) -> set[bytes]:
    """All names of the root volume, seen by the appliance."""
    appliance.call("mount_ro", "/dev/sda2", "/")
    appliance.call("find0", "/", str(folder / "names"))
    appliance.call("umount_all")
    return set((folder / "names").read_bytes().split(b"\0"))
