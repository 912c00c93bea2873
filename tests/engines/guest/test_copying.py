"""The whole copy of an image: one run at a time writes to a name, and nobody reads it who may not read the original."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from engines.guest import copying
from engines.guest.surgery import Surgery
from engines.job.contract import Cancel, Context
from engines.job.errors import Refused
from engines.job.lock import hold, name_identity


@dataclass
class Seen:
    path: Path
    format: str = "raw"


@dataclass
class Done:
    """What an operation without an appliance leaves: the original, and a layer with the outcome."""

    target: Seen
    outcome: Path


@pytest.fixture
def done(tmp_path: Path) -> Surgery:
    original, outcome = tmp_path / "web1.img", tmp_path / "outcome.qcow2"
    original.write_bytes(bytes(1 << 20))
    original.chmod(0o640)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", outcome, "1M"], check=True)
    return cast("Surgery", Done(Seen(original), outcome))


def copied(done: Surgery, folder: Path, path: Path) -> None:
    folder.mkdir()
    for _ in copying.copy(done, Context(folder=folder, cancel=Cancel()), path, {}):
        pass


def test_it_has_the_rights_of_the_original(done: Surgery, tmp_path: Path) -> None:
    copied(done, tmp_path / "run", tmp_path / "new.qcow2")
    assert (tmp_path / "new.qcow2").stat().st_mode & 0o777 == 0o640
    assert subprocess.run(["qemu-img", "check", "-q", tmp_path / "new.qcow2"], check=False).returncode == 0
    assert not list(tmp_path.glob("*-part"))


def test_it_is_ours_alone_while_it_grows(done: Surgery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an original that nobody may write, or another's, too: qemu-img opens the new file by its name, to write."""
    done.target.path.chmod(0o444)
    os.chown(done.target.path, 65534, 65534)
    seen, bin_ = tmp_path / "seen", tmp_path / "bin"
    bin_.mkdir()
    script = f'for last; do :; done; stat -c "%a %u" "$last" >>{seen}\nexec {shutil.which("qemu-img")} "$@"'
    (bin_ / "qemu-img").write_text(f"#!/bin/sh\n{script}\n")
    (bin_ / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    copied(done, tmp_path / "run", tmp_path / "new.qcow2")
    assert seen.read_text() == f"600 {os.geteuid()}\n"
    new = (tmp_path / "new.qcow2").stat()
    assert (new.st_mode & 0o7777, new.st_uid, new.st_gid) == (0o444, 65534, 65534)


def test_a_second_image_that_is_to_go_to_the_same_name_is_refused_meanwhile(done: Surgery, tmp_path: Path) -> None:
    """The runs have locks on two images: they would have taken each other's half-written file for their own."""
    with hold(name_identity(tmp_path / "new.qcow2"), "another"), pytest.raises(Refused, match="run another"):
        copied(done, tmp_path / "run", tmp_path / "new.qcow2")
    assert not (tmp_path / "new.qcow2").exists()
