"""Files of a point go back into a stopped guest whole, or not at all, and the image can be had back bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines import tasks
from engines.backup.browse import opening
from engines.backup.browse.model import Node, VolumeInfo
from engines.backup.browse.tree import Tree
from engines.backup.byte_source import open_point
from engines.backup.put import put
from engines.backup.put.operation import Operation, chosen
from engines.backup.put.perform import Evidence, write
from engines.backup.put.placing import Wish
from engines.backup.repository import Repository
from engines.guest.appliance import Appliance
from engines.guest.surgery import Surgery
from engines.job import runs
from engines.job.contract import AnyEvent, BytesChange, Cancel, Context, Finished, Plan, Progress, StepStarted
from engines.job.errors import Refused
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert, plain
from engines.job.perform import perform
from engines.job.report import write_reports
from tests.cli.crashcart import crashcart
from tests.engines.backup import lab
from tests.engines.backup.browse.wards import MIB, customer, mounted, run, seen, table
from tests.engines.guest.images import qemu, sha256

pytestmark = pytest.mark.boot

START, SIZE = 18 * MIB, 44 * MIB  # the second partition: the root
SCRIPT = "label: dos\nstart=2048,size=32768,type=c\nstart=36864,size=90112,type=83\n"


@dataclass
class Ward:
    """A guest's image as it is now, the point of it before its accident, and what the point's files are."""

    folder: Path
    image: Path
    repo: str
    point: str
    before: dict[bytes, dict[str, Any]]

    def copy(self, name: str) -> Path:
        made = self.folder / name
        run("cp", "--sparse=always", self.image, made)
        return made

    def files(self, image: Path) -> dict[bytes, dict[str, Any]]:
        """The root's files now."""
        with mounted(image, self.folder / "seen", START, SIZE, "ro", "noload") as root:
            return seen(root)

    def params(self, image: Path, *paths: str, **more: Any) -> dict[str, Any]:
        return {"repo": self.repo, "paths": [f"{self.point}:{path}" for path in paths], "into": str(image), **more}


def accident(root: Path) -> None:
    """What a customer does at night."""
    shutil.rmtree(root / "srv" / "www" / "deep")
    for name in ("index.html", "twin.html", "sparse", "abs", "tool", "null"):
        (root / "srv" / "www" / name).unlink()
    Path(os.fsdecode(os.fsencode(root) + b"/srv/www/\xff\xfe new\nline \x1b[31m")).unlink()
    (root / "etc" / "motd").write_text("HACKED, and longer than before\n")
    (root / "srv" / "www" / "abs").mkdir()


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("ward")
    image = table(folder / "guest.img", 64 * MIB, SCRIPT)
    run("mkfs.vfat", "--offset", "2048", image, str(16 * 1024))
    run("mke2fs", "-q", "-t", "ext4", "-E", f"offset={START}", "-L", "root", image, str(SIZE // 1024))
    with mounted(image, folder / "seen", START, SIZE) as root:
        customer(root)
    before = {"XDG_STATE_HOME": str(folder / "state")}
    kept = {name: os.environ.get(name) for name in before}
    os.environ |= before
    repo = lab.init(folder / "repo")
    point = lab.backup(repo, image)
    made = Ward(folder, image, repo, point, {})
    made.before = made.files(image)
    with mounted(image, folder / "seen", START, SIZE) as root:
        accident(root)
    for name, value in kept.items():
        if value is not None:
            os.environ[name] = value
    yield made
    put.kept.close_all()


def planned(params: dict[str, Any]) -> Plan:
    engine = tasks.engine("backup-put")
    return engine.plan(convert(engine.params, params), Cancel())


def told(plan: Plan) -> dict[str, str]:
    return {change.target: change.summary for change in plan.changes if isinstance(change, BytesChange)}


def after(earlier: runs.Run, mode: str) -> AnyEvent:
    taken_up = runs.create(earlier.job(), earlier.info().target, mode=mode, earlier=earlier.id)
    last = perform(taken_up, tasks.engine("backup-put"))
    write_reports(taken_up)
    return last


def killed(params: dict[str, Any], moment: type[AnyEvent], step: str) -> tuple[runs.Run, Plan]:
    """A put whose process is gone by SIGKILL at that moment of that step."""
    engine = tasks.engine("backup-put")
    given = convert(engine.params, params)
    run_ = runs.create(Job(task=engine.name, params=plain(given)), given.into)
    child = os.fork()
    if child == 0:
        now = ""

        def listen(entry: Entry) -> None:
            nonlocal now
            now = entry.event.step if isinstance(entry.event, StepStarted) else now
            if now == step and isinstance(entry.event, moment):
                os.kill(os.getpid(), signal.SIGKILL)

        perform(run_, engine, plan=engine.plan(given, Cancel()), listen=listen)
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    plan = run_.plan()
    assert plan is not None
    return run_, plan


def test_files_come_back_with_all_they_had_across_a_kill_and_undo_is_bit_for_bit(ward: Ward) -> None:
    image = ward.copy("whole.img")
    before = sha256(image)
    params = ward.params(image, "/p2/srv/www", "/p2/etc/motd", conflict="rename", special=True, setuid=True)
    first, plan = killed(params, Progress, "commit")
    lines = told(plan)
    assert plan.confirm == "whole.img"
    assert lines["p2:/srv/www/index.html"].startswith("new, 68.4 KiB")
    assert "setuid" in lines["p2:/srv/www/tool"]
    assert "p2:/srv/www/\\xff\\xfe new\\x0aline \\x1b[31m" in lines
    assert sha256(image) != before
    with pytest.raises(Refused, match="was interrupted while it wrote"):
        planned(params)
    finished = after(first, "resume")
    assert isinstance(finished, Finished), finished
    now = ward.files(image)
    stamp = f".from-{ward.point.rpartition('@')[2]}".encode()
    for path, wanted in ward.before.items():
        if path.startswith(b"srv/www/") or path == b"etc/motd":
            taken = path in (b"etc/motd", b"srv/www/abs", b"srv/www/empty")
            assert now[path + stamp if taken else path] == wanted, path
    assert now[b"etc/motd"]["size"] == 31
    assert now[b"etc/hosts"] == ward.before[b"etc/hosts"]
    with mounted(image, ward.folder / "seen", START, SIZE, "ro", "noload") as root:
        assert (root / "srv" / "www" / "sparse").stat().st_blocks * 512 < MIB
    assert (
        subprocess.run(["e2fsck", "-fn", f"{image}?offset={START}"], check=False, capture_output=True).returncode == 0
    )
    assert isinstance(after(first, "undo"), Finished)
    assert sha256(image) == before


def test_the_whole_way_by_the_command_line_replaces_and_names_each_file(ward: Ward) -> None:
    image = ward.copy("cli.img")
    before = sha256(image)
    inside = ("/p2/etc/motd", "/p2/srv/www/tool", "/p2/srv/www/null", "/p2/srv/www/index.html")
    words = [f"{ward.point}:{path}" for path in inside]
    ran = crashcart(
        "backup", "put", *words, "--repo", ward.repo, "--into", str(image), "--conflict", "overwrite",
        "--confirm", "cli.img", "--json",
    )  # fmt: skip
    assert ran.returncode == 4, ran.stderr
    told_ = [json.loads(line) for line in ran.stdout.splitlines()]
    assert told_[-1]["event"] == "Finished"
    assert {key: told_[-1]["result"][key] for key in ("created", "replaced", "kept", "left out")} == {
        "created": 2, "replaced": 1, "kept": 0, "left out": 1,
    }  # fmt: skip
    assert any("tool goes without its capabilities (--setuid keeps them)" in each.get("text", "") for each in told_)
    now = ward.files(image)
    assert now[b"etc/motd"] == ward.before[b"etc/motd"]
    assert now[b"srv/www/index.html"] == {**ward.before[b"srv/www/index.html"], "links": 1}
    assert now[b"srv/www/tool"]["mode"] & 0o7777 == 0o755
    assert "security.capability" not in now[b"srv/www/tool"]["attributes"]
    assert b"srv/www/null" not in now
    report = crashcart("report", "last").stdout
    for wanted in (
        "p2:/etc/motd  replaced  -rw-r--r-- 0:0 8 bytes",
        "p2:/srv/www/tool  created (without its setuid or setgid bit)",
        "p2:/srv/www/null  left out (a device node or pipe (--special puts it))",
        "crashcart undo ",
    ):
        assert wanted in report, report
    assert crashcart("undo", "last").returncode == 0
    assert sha256(image) == before


# ── what is decided, in one appliance ───────────────────────────────────────────────────────────────


@dataclass
class Theatre:
    """One open surgery on the guest after its accident; what is written to its overlay is thrown away."""

    surgery: Surgery
    tree: Tree

    def operation(self) -> Operation:
        return Operation(self.tree, self.surgery, ExitStack())

    def placed(self, *paths: bytes, at: bytes | None = None, volume: str = "", **wish: Any) -> Operation:
        operation = self.operation()
        operation.place(chosen(self.tree, list(paths)), at, volume, Wish(stamp=b".from-x", **wish))
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
    operation.place(chosen(tree, [b"/"]), b"/in/here", "p2", Wish(stamp=b".from-x"))
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
