"""A path without a volume is the guest's own, put together by its fstab; every verb takes it so."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engines.backup.commands.looks import Content, FindParams, Listing, _cat, _find, _ls
from engines.backup.commands.versions import VersionsParams, answer
from engines.backup.files.guest import Elsewhere
from engines.backup.files.model import NoSuchFile
from engines.backup.files.opening import open_tree
from engines.backup.files.reach import PathParams
from engines.backup.files.tree import NoRoot
from tests.engines.backup import lab
from tests.engines.backup.files.get_lab import in_state
from tests.engines.backup.files.images import MIB, Image, ext, mounted, table

ROOT = "11111111-2222-3333-4444-555555555555"
BOOT = "21111111-2222-3333-4444-555555555555"
GPT = "31111111-2222-3333-4444-555555555555"
FSTAB = f"""# the guest's own
UUID={ROOT} / ext4 defaults 0 1
/dev/disk/by-label/boot /boot ext2 ro 0 2
PARTUUID={GPT} /var\\040data ext4 noatime
/dev/vda4 /srv ext4 nofail
UUID=99999999-2222-3333-4444-555555555555 /data ext4 nofail
/srv/shared /home/shared none bind
tmpfs /tmp tmpfs size=1G
UUID=beef none swap sw
"""


def part(path: Path, fill: Callable[[Path], object], *options: str) -> Path:
    ext(path, 16 * MIB, *options)
    with mounted(path) as root:
        fill(root)
    return path


def root(folder: Path) -> None:
    for name in ("etc", "boot", "var data", "srv", "home/shared", "data", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/fstab").write_text(FSTAB)
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (folder / "boot/hidden").write_text("below the mount")
    (folder / "kernel").symlink_to("/boot/vmlinuz")


def srv(folder: Path) -> None:
    (folder / "shared").mkdir()
    (folder / "shared/plan.txt").write_text("plan")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guest")
    boot = part(folder / "boot", lambda at: (at / "vmlinuz").write_text("kernel"), "-L", "boot", "-U", BOOT)
    own = part(folder / "root", root, "-U", ROOT)
    var = part(folder / "var", lambda at: (at / "log").write_text("log"))
    parts = [(boot, ""), (own, ""), (var, f"uuid={GPT}, "), (part(folder / "srv", srv), "")]
    return table(folder / "disk", "gpt", [(each, words.rstrip(", ")) for each, words in parts], 80 * MIB)


class Point:
    def __init__(self, repo: str, name: str) -> None:
        self.repo, self.name = repo, name

    def ls(self, path: str) -> Listing:
        return _ls(PathParams(repo=self.repo, point=self.name + path))


@pytest.fixture(scope="module")
def point(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Point]:
    folder = tmp_path_factory.mktemp("point")
    back = in_state(folder)
    repo = lab.init(folder / "repo")
    yield Point(repo, lab.backup(repo, image))
    back()


def test_the_guests_paths_lead_to_the_volumes_of_its_fstab(image: Path) -> None:
    with open_tree(Image(image), "quick") as tree:
        places = {
            b"/etc/fstab": ("p2", b"/etc/fstab"),
            b"/boot/vmlinuz": ("p1", b"/vmlinuz"),
            b"/var data/log": ("p3", b"/log"),
            b"/srv": ("p4", b"/"),
            b"/home/shared/plan.txt": ("p4", b"/shared/plan.txt"),
            b"/p2/boot/hidden": ("p2", b"/boot/hidden"),
            b"/bootx": ("p2", b"/bootx"),
        }
        assert {path: tree.located(path) for path in places} == places
        assert tree.resolve(b"/kernel") == b"/boot/vmlinuz"
        with pytest.raises(NoSuchFile):
            tree.resolve(b"/p2/kernel")  # by a volume's name a path never leaves it
        with pytest.raises(Elsewhere, match=r"UUID=99999999.* at /data.*not on this disk"):
            tree.stat(b"/data/file")
        with pytest.raises(NoSuchFile):
            tree.stat(b"/boot/hidden")
        told: list[bytes] = []
        walked = [path for path, _ in tree.walk(b"/", lambda path, _error: told.append(path))]
        assert told == [b"/data"]
        assert {b"/etc/fstab", b"/boot/vmlinuz", b"/var data/log", b"/srv/shared/plan.txt"} <= set(walked)
        assert not [path for path in walked if path.startswith(b"/p")]


def test_ls_find_and_cat_take_the_guests_paths_a_volume_and_patterns(point: Point) -> None:
    top = point.ls(":/")
    assert {"etc", "boot", "srv"} <= {each.path for each in top.entries}
    assert [each.name for each in top.volumes] == ["p1", "p2", "p3", "p4"]
    assert not point.ls("").entries
    assert [each.path for each in point.ls(":/boot").entries if each.type == "file"] == ["vmlinuz"]
    for named in (":/p2/boot", ":p2:/boot"):
        assert [each.path for each in point.ls(named).entries] == ["hidden"]
    assert [each.path for each in point.ls(":/etc/f*b").entries] == ["/etc/fstab"]
    assert [each.path for each in point.ls(":/*/vm*").entries] == ["/boot/vmlinuz"]
    found = _find(FindParams(repo=point.repo, point=point.name + ":/", pattern="plan.txt"))
    assert {each.path for each in found.entries} == {"/srv/shared/plan.txt", "/home/shared/plan.txt"}
    content: Content = _cat(PathParams(repo=point.repo, point=point.name + ":/kernel"))
    assert content.file.size == 6
    assert any("/data of the guest is UUID=99999999" in note for note in top.notes)


def test_get_takes_the_guests_tree_across_its_mounts(point: Point, tmp_path: Path) -> None:
    lab.done("backup-get", repo=point.repo, paths=[f"{point.name}:/"], dest=str(tmp_path / "out"))
    out = tmp_path / "out"
    assert (out / "boot/vmlinuz").read_text() == "kernel"
    assert (out / "var data/log").read_text() == "log"
    assert (out / "srv/shared/plan.txt").read_text() == "plan"
    assert not (out / "p2").exists()
    lab.done("backup-get", repo=point.repo, paths=[f"{point.name}:/e*/f*", "/boot/*"], dest=str(tmp_path / "few"))
    assert sorted(path.name for path in (tmp_path / "few").iterdir()) == ["fstab", "lost+found", "vmlinuz"]


def test_versions_never_call_gone_what_was_looked_for_in_the_wrong_place(point: Point, tmp_path: Path) -> None:
    data = part(tmp_path / "data", lambda at: (at / "file").write_text("data"))
    lab.backup(point.repo, table(tmp_path / "disk", "gpt", [(data, ""), (data, "")], 40 * MIB), disk="disk1")

    def states(where: str) -> list[tuple[str, str]]:
        found = answer(VersionsParams(repo=point.repo, where=where)).versions
        return [(each.point.partition("@")[0], each.state) for each in found]

    assert states("web1:/etc/fstab") == [("web1/disk0", "first"), ("web1/disk1", "elsewhere")]
    assert states("web1/disk0:/etc/none") == [("web1/disk0", "gone")]
    assert states("web1/disk0:/data/file") == [("web1/disk0", "elsewhere")]
    assert states("web1/disk0:p1:/vmlinuz") == [("web1/disk0", "first")]


def test_a_disk_without_a_root_names_its_volumes(tmp_path: Path) -> None:
    parts = [part(tmp_path / name, lambda at: (at / "x").write_text("x")) for name in ("one", "two")]
    disk = table(tmp_path / "disk", "gpt", [(each, "") for each in parts], 40 * MIB)
    with ExitStack() as stack:
        tree = stack.enter_context(open_tree(Image(disk), "quick"))
        with pytest.raises(NoRoot, match=r"/x: no such volume.*there are p1, p2"):
            tree.stat(b"/x")
        assert stat.S_ISREG(tree.stat(b"/p1/x").mode)
        assert [node.name for node in tree.list(b"/")] == [b"p1", b"p2"]
