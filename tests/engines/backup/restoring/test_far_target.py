"""A restore to another host over ssh: compared there, whole or not at all, and refused where it would do harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines import tasks
from engines.job.contract import Cancel, Finished, RunFailed
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
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
        yield There(folder, repo, point, source)


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
