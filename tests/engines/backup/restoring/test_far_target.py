"""A restore to another host over ssh: compared there, whole or not at all, and refused where it would do harm."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines import tasks
from engines.backup.commands.far_hold import first_line, held
from engines.backup.commands.far_look import LOOK, Seen
from engines.backup.commands.far_place import LONGEST, place_at
from engines.host.child import code, environment
from engines.job.contract import Cancel, Context, Finished, RunFailed, RunStopped, StepStarted
from engines.job.errors import BadParam, Failed, Refused
from engines.job.journal import Entry
from engines.job.params import Secret, convert
from engines.job.perform import Stop
from engines.job.work import Work, typed
from tests.engines.backup import lab
from tests.engines.backup.restoring.test_restore import loop
from tests.engines.backup.store.sshd import Sshd

WRONG_DD = """#!/bin/sh
[ -e {folder}/wrong ] || exec /bin/dd "$@"
case "$*" in *bs=4M*) tr '\\001' '\\002' | /bin/dd "$@";; *) exec /bin/dd "$@";; esac
"""


@dataclass
class There:
    """A host to restore to, and a point; its dd writes other bytes while folder/wrong is there."""

    folder: Path
    repo: str
    point: str
    source: Path

    def words(self, path: Path | str, **more: object) -> dict[str, object]:
        config = str(self.folder / "ssh_config")
        return {"repo": self.repo, "point": self.point, "target": f"ssh://there{path}", "ssh_config": config, **more}

    def refused(self, path: Path | str, **more: object) -> str:
        engine = tasks.engine("backup-restore")
        with pytest.raises((Refused, BadParam)) as found:
            engine.plan(convert(engine.params, self.words(path, **more)), Cancel())
        return str(found.value)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    folder = tmp_path_factory.mktemp("there")
    repo = lab.init(folder / "repo")
    source = lab.disk(folder / "disk", {0: 1, 5: 1}, 7 * lab.MIB + 512)
    point = lab.backup(repo, source)
    (folder / "bin").mkdir()
    (folder / "bin" / "dd").write_text(WRONG_DD.format(folder=folder))
    (folder / "bin" / "dd").chmod(0o755)
    server = Sshd(folder)
    with (folder / "config").open("a") as config:
        config.write(f"SetEnv PATH={folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")
    with server:
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known").write_text(f"[127.0.0.1]:{server.port} {host_key}")
        (folder / "ssh_config").write_text(
            f"Host there\n HostName 127.0.0.1\n Port {server.port}\n User root\n IdentityFile {folder}/key\n"
            f" UserKnownHostsFile {folder}/known\n StrictHostKeyChecking yes\n IdentitiesOnly yes\n"
        )
        with one_line(folder / "ssh_config"):
            yield There(folder, repo, point, source)


@contextmanager
def one_line(config: Path) -> Iterator[None]:
    """One connection for all that is asked there, as many technicians have set it: a login each takes its time."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="crashcart-ssh-") as short:  # a socket's path is short
        place = Path(short, "s")
        with config.open("a") as stream:
            stream.write(f" ControlPath {place}\n")
        with subprocess.Popen(["ssh", "-F", str(config), "-M", "-N", "there"]) as line:
            try:
                end = time.monotonic() + 120
                while not place.exists():
                    assert line.poll() is None and time.monotonic() < end
                    time.sleep(0.02)
                yield
            finally:
                line.kill()


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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    place = place_at("ssh://host/x", "")
    if end == "exit 0":
        assert place.ask("true").startswith("here") and len(place.ask("true")) == LONGEST
    else:
        with pytest.raises(Failed):
            place.ask("true")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 << 10  # KiB


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


def test_a_stopped_run_leaves_no_part_and_is_taken_up(there: There, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    for step in ("write", "verify"):
        run, last = lab.perform_job(
            "backup-restore",
            stop=(stop := Stop()),
            listen=lab.stops_at(step, stop),
            **there.words(old, powered_off=True),
        )
        assert isinstance(last, RunStopped) and last.left_behind == ()
        assert old.read_bytes() == b"old" and list(tmp_path.glob("old*")) == [old]
    plan = run.plan()
    assert plan is not None and "remove" not in plan.undo
    Path(plan.detail["part"]).write_bytes(b"what a killed run left")
    _, last = lab.followed(run, "resume")
    assert isinstance(last, Finished) and old.read_bytes() == there.source.read_bytes()
    assert list(tmp_path.glob("old*")) == [old]


def test_a_resumed_run_looks_again(there: There, tmp_path: Path) -> None:
    new = tmp_path / "new"
    run, last = lab.perform_job(
        "backup-restore", stop=(stop := Stop()), listen=lab.stops_at("verify", stop), **there.words(new)
    )
    assert isinstance(last, RunStopped)
    new.write_bytes(b"somebody else's")
    _, last = lab.followed(run, "resume")
    assert isinstance(last, RunFailed) and "not what it was at the review" in last.why
    assert new.read_bytes() == b"somebody else's"


def test_what_came_to_be_while_it_was_sent_stays(there: There, tmp_path: Path) -> None:
    new = tmp_path / "new"

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == "verify":
            new.write_bytes(b"somebody else's")

    _, last = lab.perform_job("backup-restore", listen=listen, **there.words(new))
    assert isinstance(last, RunFailed) and new.read_bytes() == b"somebody else's" and last.left_behind == ()
    assert list(tmp_path.glob("new*")) == [new]


def test_a_device_that_is_half_written_is_named(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(8 * lab.MIB))
    with loop(tmp_path / "image") as device:
        words = there.words(device, powered_off=True)
        run, last = lab.perform_job(
            "backup-restore", stop=(stop := Stop()), listen=lab.stops_at("verify", stop), **words
        )
        assert isinstance(last, RunStopped) and str(device) in last.left_behind[0]
        holds = os.open(device, os.O_RDONLY | os.O_EXCL)  # no mount: a namespace made meanwhile would keep it
        try:
            _, last = lab.followed(run, "resume")
        finally:
            os.close(holds)
        assert isinstance(last, RunFailed) and "held" in last.why
        _, last = lab.followed(run, "resume")
        assert isinstance(last, Finished)
        assert Path(device).read_bytes()[: 7 * lab.MIB + 512] == there.source.read_bytes()


def test_two_runs_to_one_device_there_are_kept_apart(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(8 * lab.MIB))
    with loop(tmp_path / "image") as device:
        words = there.words(device, powered_off=True)
        with held(place_at(str(words["target"]), str(words["ssh_config"]))) as other:
            _, last = lab.perform_job("backup-restore", **words)
            assert isinstance(last, RunFailed) and f"another run writes to {device}" in last.why
            assert f"process {other.process} there" in last.why and last.left_behind == ()
            other.demand()
            os.kill(int(other.process), signal.SIGKILL)  # as where that host goes down
            other.line.wait(120)
            with pytest.raises(Failed, match="was cut"):
                other.demand()
        assert device.read_bytes() == bytes(8 * lab.MIB)
        _, last = lab.perform_job("backup-restore", **words)
        assert isinstance(last, Finished) and device.read_bytes()[: 7 * lab.MIB] == there.source.read_bytes()[:-512]


def test_a_lock_that_cannot_be_asked_for_is_none_and_a_strangers_descriptor_holds_nothing(
    there: There, tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(bytes(lab.MIB))
    place = place_at(f"ssh://there{tmp_path}/image", str(there.folder / "ssh_config"))
    with subprocess.Popen(
        ["sh", "-c", f"exec 9<{tmp_path}/image; echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdin and stranger.stdout and stranger.stdout.readline()
        with held(place) as first, pytest.raises(Refused, match=f"process {first.process} there"), held(place):
            pass
        stranger.stdin.close()
    (there.folder / "bin" / "flock").write_text("#!/bin/sh\nexit 1\n")  # as without -w, or without locks
    (there.folder / "bin" / "flock").chmod(0o755)
    try:
        with held(place) as none:
            assert "is not sure" in none.warning
    finally:
        (there.folder / "bin" / "flock").unlink()


def test_a_line_of_its_own_that_is_killed_lets_go(there: There, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(lab.MIB))
    config = tmp_path / "alone"
    lines = (there.folder / "ssh_config").read_text().splitlines()
    config.write_text("\n".join(line for line in lines if "ControlPath" not in line) + "\n")
    place = place_at(f"ssh://there{tmp_path}/image", str(config))
    with held(place) as cut:
        cut.line.kill()
        cut.line.wait(120)
        with pytest.raises(Failed, match="was cut"):
            cut.demand()
    with held(place) as again:  # the far side let go by itself
        assert again.process and again.process != cut.process


def test_a_line_without_an_end_is_waited_for_until_its_time() -> None:
    inside, outside = os.pipe()
    os.write(outside, b"Welcome")
    try:
        with pytest.raises(TimeoutError):
            first_line(inside, time.monotonic())
        os.write(outside, b"held 7\nmore")
        assert first_line(inside, time.monotonic() + 60) == "held 7"
    finally:
        os.close(inside)
        os.close(outside)


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


def test_each_run_has_a_part_of_its_own(there: There, tmp_path: Path) -> None:
    engine = tasks.engine("backup-restore")
    plans = [engine.plan(convert(engine.params, there.words(tmp_path / "x")), Cancel()) for _ in range(2)]
    assert plans[0].detail["part"] != plans[1].detail["part"] and plans[0].digest == plans[1].digest
    taken = Path(plans[0].detail["part"])
    taken.write_bytes(b"another run's")
    work = engine.execute(typed(engine, plans[0]), Context(cancel=Cancel(), folder=tmp_path))
    with pytest.raises(Failed, match="File exists"):
        list(work)
