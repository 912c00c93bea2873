"""Every file system that a guest may have is listed, taken out and mounted by the real command.

Judges, each on a copy of the disk: the kernel for ext3, ext4, XFS, btrfs and the volume within LVM; ntfs-3g for NTFS;
mtools for FAT.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.backup.files.model import shown
from tests.cli.crashcart import ARGV, ROOT
from tests.engines.backup import lab
from tests.engines.backup.files.judging import mounted, run, seen
from tests.engines.backup.files.many import LINUX, Many, Part, build, windows

pytestmark = pytest.mark.boot

WITHIN = 900.0  # s; an emulated appliance on a busy machine
GPT = {
    "p1": ("vfat", 40), "p2": ("ntfs", 24), "p3": ("ext4", 48), "p4": ("xfs", 320), "p5": ("btrfs", 160),
    "vg0-root": ("lvm:ext4", 56),
}  # fmt: skip
MBR = {"p1": ("vfat", 40), "p5": ("ext3", 48), "p6": ("ntfs", 24)}
PLAIN = ("size", "digest")
LOOKED = ("mode", "owner", "size", "mtime", "link", "digest", "device")


@dataclass
class Estate:
    """A disk in a repository."""

    folder: Path
    many: Many
    repo: str
    point: str

    def judged(self, name: str) -> dict[bytes, dict[str, Any]]:
        """A volume's files as its own driver sees them."""
        part = self.many.parts[name]
        place = self.folder / "judge"
        if part.format in LINUX:
            with mounted(self.many.judge, place, part.offset, part.size) as root:
                return seen(root)
        if part.format == "ntfs":
            with windows(self.many.judge, part, place, "ro") as root:
                return seen(root)
        return self._by_mtools(part)

    def _by_mtools(self, part: Part) -> dict[bytes, dict[str, Any]]:
        target = self.folder / "mtools"
        target.mkdir(exist_ok=True)
        run("mcopy", "-s", "-m", "-n", "-i", f"{self.many.judge}@@{part.offset}", "::*", target)
        return seen(target)


def estate(folder: Path, label: str, wanted: dict[str, tuple[str, int]], living: tuple[str, ...] = ()) -> Estate:
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    try:
        many = build(folder, label, wanted, living)
        repo = lab.init(folder / "repo")
        return Estate(folder, many, repo, lab.backup(repo, many.image))
    finally:
        if before is not None:
            os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """Two of its file systems were being written to when it was copied."""
    return estate(tmp_path_factory.mktemp("gpt"), "gpt", GPT, ("p3", "p4"))


@pytest.fixture(scope="module")
def mbr(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """What the quick driver serves: no appliance is started."""
    return estate(tmp_path_factory.mktemp("mbr"), "dos", MBR)


def crashcart(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*ARGV, "backup", *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=WITHIN)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


def same(found: dict[bytes, dict[str, Any]], wanted: dict[bytes, dict[str, Any]], part: Part) -> None:
    """As far as the file system itself can tell: FAT and NTFS know neither owners nor modes."""
    keys = tuple(next(iter(wanted.values()))) if part.format in LINUX else PLAIN
    assert sorted(found) == sorted(wanted), part.name
    for path, facts in wanted.items():
        theirs = {key: found[path][key] for key in keys}
        ours = {key: facts[key] for key in keys}
        for each in (theirs, ours):
            if "attributes" in each:  # XFS shows its ACLs a second time
                each["attributes"] = {n: v for n, v in each["attributes"].items() if not n.startswith("trusted.SGI_")}
        assert theirs == ours, (part.name, path)
        if part.format not in LINUX and not stat.S_ISDIR(facts["mode"]):
            assert abs(found[path]["mtime"] - facts["mtime"]) <= 2 * 10**9, (part.name, path)


def test_everything_comes_out_of_a_disk_that_was_copied_while_it_was_written_to(gpt: Estate, tmp_path: Path) -> None:
    ran = crashcart("get", f"{gpt.point}:/", tmp_path / "out", "--owner", "--special", "--repo", gpt.repo)
    assert ran.returncode in (0, 4), ran.stderr
    out = tmp_path / "out"
    assert sorted(each.name for each in out.iterdir()) == sorted(gpt.many.parts)
    for name, part in gpt.many.parts.items():
        taken = seen(out / name)
        same(taken, gpt.judged(name), part)
        if part.format in LINUX:
            assert (out / name / "srv" / "www" / "sparse").stat().st_blocks * 512 < 1 << 20
    for name, files in gpt.many.fsynced.items():
        taken = seen(out / name)
        assert files, name
        for path, digest in files.items():
            assert taken[path]["digest"] == digest, (name, path)


def test_the_quick_driver_lists_takes_out_and_mounts_what_the_judges_see(mbr: Estate, tmp_path: Path) -> None:
    ran = crashcart("ls", f"{mbr.point}:/", "--json", "--repo", mbr.repo)
    assert {each["name"] for each in json.loads(ran.stdout)["volumes"]} >= set(MBR)
    wanted = {name: mbr.judged(name) for name in MBR}
    ran = crashcart(
        "get", f"{mbr.point}:/", tmp_path / "out", "--owner", "--special", "--driver", "quick", "--repo", mbr.repo
    )
    assert ran.returncode in (0, 4), ran.stderr
    for name, part in mbr.many.parts.items():
        same(seen(tmp_path / "out" / name), wanted[name], part)
        listed(mbr, name, wanted[name])
    with by_mount(mbr, tmp_path / "mnt", "--driver", "quick") as root:
        for name, part in mbr.many.parts.items():
            looked(root / name, wanted[name], part)


def listed(where: Estate, name: str, wanted: dict[bytes, dict[str, Any]], most: int = 4) -> None:
    """`ls` of the top and of a few folders."""
    folders = [b"", *(path for path, facts in wanted.items() if stat.S_ISDIR(facts["mode"]))]
    for folder in folders[:most]:
        place = shown(b"/" + name.encode() + b"/" + folder)
        ran = crashcart("ls", f"{where.point}:{place}", "--json", "--repo", where.repo)
        assert ran.returncode == 0, ran.stderr
        names = {each["path"] for each in json.loads(ran.stdout)["entries"]}
        inside = {path.rpartition(b"/") for path in wanted}
        theirs = {shown(name) for above, _, name in inside if above == folder}
        assert names == theirs


@contextmanager
def by_mount(where: Estate, folder: Path, *options: str) -> Iterator[Path]:
    """The point mounted by the command."""
    folder.mkdir()
    command = [*ARGV, "backup", "mount", where.point, str(folder), "--repo", where.repo, *options]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + WITHIN
        while not folder.is_mount():
            assert server.poll() is None, server.communicate()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield folder
    finally:
        subprocess.run(["fusermount3", "-u", str(folder)], check=False)
        server.wait(WITHIN)


def looked(root: Path, wanted: dict[bytes, dict[str, Any]], part: Part) -> None:
    """What the mount shows."""
    found = seen(root)
    keys = LOOKED if part.format in LINUX else PLAIN
    assert sorted(found) == sorted(wanted), part.name
    for path, facts in wanted.items():
        assert {key: found[path][key] for key in keys} == {key: facts[key] for key in keys}, (part.name, path)


@pytest.mark.soak
def test_the_appliance_lists_and_mounts_what_the_judges_see(gpt: Estate, tmp_path: Path) -> None:
    wanted = {name: gpt.judged(name) for name in gpt.many.parts}
    with by_mount(gpt, tmp_path / "mnt", "--driver", "libguestfs") as root:
        for name, part in gpt.many.parts.items():
            looked(root / name, wanted[name], part)
    for name in ("p4", "vg0-root"):
        listed(gpt, name, wanted[name], most=1)
