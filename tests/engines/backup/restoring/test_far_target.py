"""A restore to another host over ssh: compared there, whole or not at all, and refused where it would do harm."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from engines import tasks
from engines.backup.commands.far_look import LOOK, Seen
from engines.backup.commands.far_place import LONGEST, place_at
from engines.host.child import code, environment
from engines.job.contract import Cancel, Context, Finished, RunFailed
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import Secret, convert
from engines.job.work import Work, typed
from tests.engines.backup import lab
from tests.engines.backup.restoring.loop import loop
from tests.engines.backup.restoring.there import There
from tests.memory import MIB, grows_less_than


def test_a_new_file_and_an_old_one_and_a_device_hold_the_disk(there: There, tmp_path: Path) -> None:
    wanted, new = there.source.read_bytes(), tmp_path / "a 'new' $one"
    result = lab.done("backup-restore", **there.words(new))
    assert new.read_bytes() == wanted and result["written"] == len(wanted)
    assert new.stat().st_blocks * 512 < len(wanted) - 3 * lab.MIB, "holes stay holes"
    new.write_bytes(b"old" * lab.MIB)
    lab.done("backup-restore", **there.words(new, powered_off=True))
    assert new.read_bytes() == wanted and not list(tmp_path.glob("*part"))
    image = tmp_path / "image"
    image.write_bytes(b"\xff" * 8 * lab.MIB)
    with loop(image) as device:
        lab.done("backup-restore", **there.words(device, powered_off=True))
        assert Path(device).read_bytes() == wanted + b"\xff" * (8 * lab.MIB - len(wanted))


def test_what_differs_there_fails_and_an_old_file_stays(there: There, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    (there.folder / "wrong").touch()
    try:
        _, last = lab.perform_job("backup-restore", **there.words(old, powered_off=True))
    finally:
        (there.folder / "wrong").unlink()
    assert isinstance(last, RunFailed) and "SHA-256" in last.why
    assert old.read_bytes() == b"old"
    run, last = lab.perform_job("backup-restore", **there.words(old, powered_off=True))
    assert isinstance(last, Finished) and old.read_bytes() == there.source.read_bytes()
    plan = run.plan()
    assert plan is not None and plan.confirm and not plan.undoable


def test_what_would_do_harm_is_refused(there: There, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(bytes(lab.MIB))
    assert "--powered-off" in there.refused(tmp_path / "small")
    assert "neither a file nor a block device" in there.refused(tmp_path)
    assert "no folder" in there.refused(tmp_path / "a" / "b")
    assert "there is no device" in there.refused("/dev/vg-not-there")
    assert "another host" in there.refused(tmp_path / "x", delta=True)
    assert "ssh://[USER@]HOST" in there.refused("")
    with loop(tmp_path / "small") as device:
        assert "needs" in there.refused(device, powered_off=True)
    (there.folder / "ssh_config").rename(there.folder / "away")
    try:
        assert "try: ssh there true" in there.refused(tmp_path / "x")
    finally:
        (there.folder / "away").rename(there.folder / "ssh_config")
    assert not (tmp_path / "x").exists()


def test_a_path_is_taken_to_the_letter(there: There, tmp_path: Path) -> None:
    other = tmp_path / "vm"
    other.write_bytes(b"another disk")
    for name in ("vm#2.img", "vm?2 %23 $(x) `y` {z}"):
        lab.done("backup-restore", **there.words(tmp_path / name))
        assert (tmp_path / name).read_bytes() == there.source.read_bytes()
    assert other.read_bytes() == b"another disk" and len(list(tmp_path.glob("vm*"))) == 3
    for name in ("a\tb", "a\nb", "a\x7fb", "a\x85b"):
        assert "target" in there.refused(tmp_path / name)


@pytest.mark.parametrize(
    "target",
    [
        "ssh://root:s3cr3t@h/x",
        "ssh://root:s3cr3t@h",
        "ssh://root:s3cr3t@h/x\n",
        "ssh://root:s3cr3t@h/x\x01",
        "ssh://root:s3cr3t@[::1]:22/x",
        "ssh://root:s3cr3t/y@h/x",
        "ssh://:s3cr3t@h/x",
        "SSH://root:s3cr3t@h/x",
        "sftp://root:s3cr3t@h/x",
    ],
)
def test_a_password_is_refused_and_never_shown(there: There, target: str) -> None:
    with pytest.raises(BadParam) as found:
        Work.of(tasks.engine("backup-restore"), there.words("/x", target=target))
    assert "s3cr3t" not in str(found.value) and "target" in str(found.value)


def test_hosts_are_named_as_ssh_takes_them() -> None:
    assert (place_at("ssh://root@[fe80::1%eth0]:2222/a/b", "").host, place_at("ssh://[::1]/a", "").host) == (
        "root@fe80::1%eth0",
        "::1",
    )
    assert (place_at("ssh://h:22/a@b:c", "").port, place_at("ssh://h:22/a@b:c", "").path) == (22, "/a@b:c")
    for target in (
        "ssh://h:/x",
        "ssh://::1/x",
        "ssh://-oProxyCommand=x/y",
        "ssh://h#1/x",
        "ssh://h?1/x",
        "ssh://h:0/x",
    ):
        with pytest.raises(BadParam):
            place_at(target, "")


@pytest.mark.parametrize("end", ["exit 0", "exit 3"])
def test_a_host_that_says_more_than_it_was_asked_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\necho here\nhead -c 300000000 /dev/zero | tee /dev/stderr\n{end}\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    place = place_at("ssh://host/x", "")
    with grows_less_than(128 * MIB):
        if end == "exit 0":
            assert place.ask("true").startswith("here") and len(place.ask("true")) == LONGEST
        else:
            with pytest.raises(Failed):
                place.ask("true")


def test_without_ssh_it_is_said(there: There, tmp_path: Path) -> None:
    lines = (
        "from engines.backup.commands.far_look import looked; from engines.backup.commands.far_place import place_at\n"
        "from engines.job.errors import Refused\n"
        "try: looked(place_at('ssh://h/x', ''))\n"
        "except Refused as refused: print(refused)"
    )
    said = code_without_path(lines, tmp_path)
    assert "there is no ssh on this machine" in said


def code_without_path(lines: str, empty: Path) -> str:
    env = environment({**os.environ, "PATH": str(empty)})
    return subprocess.run(code(lines), env=env, check=True, capture_output=True, text=True).stdout


def number(device: Path) -> str:
    found = device.stat().st_rdev
    return f"{os.major(found)}:{os.minor(found)}"


def test_a_device_in_use_there_is_refused(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(16 * lab.MIB))
    with loop(tmp_path / "image") as device:
        assert "--powered-off" in there.refused(device)
        subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
        (tmp_path / "m").mkdir()
        subprocess.run(["mount", str(device), str(tmp_path / "m")], check=True)
        try:
            assert f"mounted at {tmp_path}/m" in there.refused(device, powered_off=True)
        finally:
            subprocess.run(["umount", str(tmp_path / "m")], check=True)
        assert "is attached as" in there.refused(tmp_path / "image", powered_off=True)


def test_a_disk_whose_partition_is_in_use_is_seen(tmp_path: Path) -> None:
    """The kernel's tree of the disk is made by hand, in a namespace: not every machine finds partitions on loops."""
    for name in ("disk", "part"):
        (tmp_path / name).write_bytes(bytes(16 * lab.MIB))
    with loop(tmp_path / "disk") as disk, loop(tmp_path / "part") as part:
        block, at = tmp_path / "block", tmp_path / "at"
        inside = block / number(disk) / "sda3"
        for folder in (at, inside.parent / "holders", inside / "holders"):
            folder.mkdir(parents=True)
        (inside.parent / "dev").write_text(number(disk))
        (inside / "partition").write_text("3")
        (inside / "dev").write_text(number(part))
        (tmp_path / "look").write_text(f"path={shlex.quote(str(disk))}{LOOK}")

        def uses(before: str) -> list[str]:
            script = f"set -e; {before}; mount --bind {block} /sys/dev/block; exec sh {tmp_path}/look"
            done = subprocess.run(["unshare", "-m", "sh", "-c", script], check=True, capture_output=True, text=True)
            return done.stdout.splitlines()[2:]

        assert uses("true") == []
        (inside / "holders" / "dm-0").mkdir()
        assert uses("true") == ["use sda3 is part of dm-0"]
        (inside / "holders" / "dm-0").rmdir()
        subprocess.run(["mkfs.ext4", "-q", str(part)], check=True)
        assert uses(f"mount {part} {at}") == [f"use {number(part)} is mounted at {at}"]


def test_a_plan_of_an_earlier_version_holds_and_a_changed_mode_throws_no_sending_away() -> None:
    then = Seen("file", 5, "/a:b/c", "64768:12:1.5:1.5", "", ())
    old = {"point": "p", "kind": "file", "size": 5, "which": "64768:12/a:b/c"}
    assert then.is_still(old, sent=False) and not then.is_still({**old, "which": "64768:13/a:b/c"}, sent=True)
    linked = Seen("file", 5, "/a:b/c", "64768:12:1.5:9.0", "", ())
    assert linked.is_still(then.state, sent=True) and not linked.is_still(then.state, sent=False)
    written = Seen("file", 5, "/a:b/c", "64768:12:9.0:9.0", "", ())
    assert not written.is_still(then.state, sent=True)


def test_a_locked_points_size_is_known_before_the_first_byte(there: There, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("three words here")
    (tmp_path / "pw").chmod(0o600)
    repo = lab.init(tmp_path / "repo", cipher="aes-256-gcm", passphrase_file=str(tmp_path / "pw"))
    point = lab.backup(repo, there.source, passphrase_file=str(tmp_path / "pw"))
    (tmp_path / "small").write_bytes(b"\xff" * lab.MIB)

    with loop(tmp_path / "small") as device:
        words = there.words(device, powered_off=True, repo=repo, point=point)
        secret = {"passphrase": Secret("three words here")}
        engine = tasks.engine("backup-restore")
        plan = typed(engine, engine.plan(convert(engine.params, words), Cancel()), secret)
        work = engine.execute(plan, Context(cancel=Cancel(), folder=tmp_path, secrets=secret))
        with pytest.raises(Refused, match="needs"):
            list(work)
        assert Path(device).read_bytes() == b"\xff" * lab.MIB


def test_a_link_is_followed_and_owner_and_mode_stay(there: There, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    os.chown(real, 64055, 108)
    real.chmod(0o640)
    link.symlink_to("real")
    run, last = lab.perform_job("backup-restore", **there.words(link, powered_off=True))
    plan = run.plan()
    assert isinstance(last, Finished) and plan is not None and str(real) in dict(plan.facts)["target"]
    assert link.is_symlink() and real.read_bytes() == there.source.read_bytes()
    found = real.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (64055, 108, 0o640)
