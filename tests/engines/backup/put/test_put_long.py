"""Puts that are killed at any step, boot their guest first, and go onto every kind of image and file system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.job.contract import (
    Finished,
    RunFailed,
    StepStarted,
)
from engines.job.errors import Refused
from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT
from tests.engines.backup import lab
from tests.engines.backup.files.judging import MIB, mounted, run, seen, table
from tests.engines.backup.files.many import MAKE, Part, logical, partition, windows
from tests.engines.backup.put.ward import Ward, after, killed, planned
from tests.engines.guest.images import clean, loop, sha256

pytestmark = [pytest.mark.boot, pytest.mark.soak]


@pytest.mark.parametrize("step", ["write", "save", "commit"])
@pytest.mark.parametrize("mode", ["resume", "undo"])
def test_a_put_that_is_killed_at_any_step_is_finished_or_taken_back(ward: Ward, step: str, mode: str) -> None:
    image = ward.copy(f"killed-{step}-{mode}.img")
    before = sha256(image)
    params = ward.params(image, "/p2/srv/www/deep", "/p2/etc/motd", conflict="overwrite")
    first, _ = killed(params, StepStarted, step)
    assert sha256(image) == before
    last = after(first, mode)
    assert isinstance(last, Finished), last
    if mode == "undo":
        assert sha256(image) == before
        return
    now = ward.files(image)
    for path in (b"etc/motd", b"srv/www/deep", b"srv/www/deep/er", b"srv/www/deep/er/file"):
        assert now[path] == ward.before[path]


def test_a_boot_test_lets_good_files_in_and_keeps_bad_ones_out(ward: Ward, tmp_path: Path) -> None:
    image = tmp_path / "guest.img"
    build(DEFAULT, image)
    good = lab.backup(ward.repo, image, vm="good")
    kernel = next(path for path in boot_files(image, tmp_path) if path.startswith("vmlinuz"))
    broken = tmp_path / "broken.img"
    run("cp", "--sparse=always", image, broken)
    with mounted(broken, tmp_path / "boot", *place_of(broken)) as root:
        (root / kernel).write_bytes(b"no kernel" * 1000)
    bad = lab.backup(ward.repo, broken, vm="bad")
    given = {"repo": ward.repo, "into": str(image), "conflict": "overwrite", "boot_test": True}
    before = sha256(image)
    _, last = lab.perform_job("backup-put", **given, paths=[f"{bad}:/p1/{kernel}"])
    assert isinstance(last, RunFailed), last
    assert "does not boot with these files" in last.why
    assert sha256(image) == before
    run_, last = lab.perform_job("backup-put", **given, paths=[f"{good}:/p3/etc/fstab"])
    assert isinstance(last, Finished), last
    assert last.result["boot_test"]
    assert sha256(image) != before
    assert isinstance(after(run_, "undo"), Finished)
    assert sha256(image) == before


def place_of(image: Path) -> tuple[int, int]:
    """Offset and size of the first partition."""
    row = json.loads(run("sfdisk", "-J", image))["partitiontable"]["partitions"][0]
    return row["start"] * 512, row["size"] * 512


def boot_files(image: Path, folder: Path) -> list[str]:
    with mounted(image, folder / "boot", *place_of(image), "ro", "noload") as root:
        return sorted(each.name for each in root.iterdir())


def test_a_qcow2_guest_and_a_block_device_take_files_too(ward: Ward, tmp_path: Path) -> None:
    image = tmp_path / "guest.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", ward.image, image)
    kept = tmp_path / "kept.qcow2"
    run("cp", image, kept)
    paths = [f"{ward.point}:/p2/etc/motd"]
    run_, last = lab.perform_job("backup-put", repo=ward.repo, into=str(image), paths=paths, conflict="overwrite")
    assert isinstance(last, Finished), last
    run("qemu-img", "convert", "-O", "raw", image, tmp_path / "raw.img")
    assert ward.files(tmp_path / "raw.img")[b"etc/motd"] == ward.before[b"etc/motd"]
    assert clean(image)
    assert isinstance(after(run_, "undo"), Finished)
    assert sha256(image) == sha256(kept)
    disk = ward.copy("device.img")
    before = sha256(disk)
    with loop(disk) as device:
        run_, last = lab.perform_job("backup-put", repo=ward.repo, into=str(device), paths=paths, conflict="overwrite")
        assert isinstance(last, Finished), last
        assert isinstance(after(run_, "undo"), Finished)
    assert sha256(disk) == before


def test_a_hibernated_guest_is_refused(ward: Ward, tmp_path: Path) -> None:
    image = table(tmp_path / "guest.img", 24 * MIB, "label: dos\nsize=8MiB,type=82\nsize=8MiB\n")
    with partition(image, Part("p1", "swap", MIB, 8 * MIB)) as device:
        run("mkswap", "-q", device)
    with partition(image, Part("p2", "ext4", 9 * MIB, 8 * MIB)) as device:
        run(*MAKE["ext4"], device)
    with image.open("r+b") as stream:
        stream.seek(MIB + 4096 - 10)
        stream.write(b"S1SUSPEND\0")
    with pytest.raises(Refused, match="the guest is hibernated"):
        planned(ward.params(image, "/p2/etc/motd"))


def test_a_volume_within_lvm_takes_files(ward: Ward, tmp_path: Path) -> None:
    image = table(tmp_path / "guest.img", 64 * MIB, "label: gpt\nsize=60MiB, type=lvm\n")
    part = Part("vg0-root", "ext4", *logical(image, MIB, 60 * MIB))
    with partition(image, part) as device:
        run(*MAKE["ext4"], device)
    before = sha256(image)
    run_, last = lab.perform_job(
        "backup-put", repo=ward.repo, into=str(image), volume="vg0-root", paths=[f"{ward.point}:/p2/srv"]
    )
    assert isinstance(last, Finished), last
    with mounted(image, tmp_path / "seen", part.offset, part.size, "ro", "noload") as root:
        assert seen(root)[b"srv/www/index.html"] == ward.before[b"srv/www/index.html"]
    assert isinstance(after(run_, "undo"), Finished)
    assert sha256(image) == before


@pytest.mark.parametrize("form", ["vfat", "ntfs", "xfs", "btrfs"])
def test_other_file_systems_take_what_they_can_hold(ward: Ward, form: str, tmp_path: Path) -> None:
    size = {"xfs": 320, "btrfs": 160}.get(form, 48)
    image = table(tmp_path / "guest.img", (size + 4) * MIB, f"label: gpt\nsize={size}MiB\n")
    part = Part("p1", form, MIB, size * MIB)
    with partition(image, part) as device:
        run(*MAKE[form], device)
    before = sha256(image)
    inside = ("/p2/srv/www/index.html", "/p2/srv/www/abs", "/p2/etc")
    run_, last = lab.perform_job(
        "backup-put", repo=ward.repo, into=str(image), volume="p1", at="/back",
        paths=[f"{ward.point}:{path}" for path in inside],
    )  # fmt: skip
    assert isinstance(last, Finished), last
    if form in ("xfs", "btrfs"):
        with mounted(image, tmp_path / "seen", part.offset, part.size) as root:
            now = seen(root / "back")
            attributes = now[b"index.html"]["attributes"]
            attributes.pop("trusted.SGI_ACL_FILE", "")
            assert now[b"index.html"] == {**ward.before[b"srv/www/index.html"], "links": 1}
            assert now[b"etc/motd"] == ward.before[b"etc/motd"]
        return  # the kernel has written to it since
    if form == "ntfs":
        with windows(image, part, tmp_path / "seen", "ro") as root:
            assert (root / "back" / "etc" / "motd").read_text() == "welcome\n"
            assert (root / "back" / "index.html").stat().st_size == ward.before[b"srv/www/index.html"]["size"]
    else:
        assert run("mtype", "-i", f"{image}@@{part.offset}", "::back/etc/motd") == "welcome\n"
        assert last.result["left_out"] == 1
    assert isinstance(after(run_, "undo"), Finished)
    assert sha256(image) == before
