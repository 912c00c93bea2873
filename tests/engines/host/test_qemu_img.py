"""What qemu-img says is had whole or not at all, and it has an end."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.guest.target import told_by_qemu_img
from engines.host.qemu_img import LONGEST, QemuImgFailed, qemu_img
from engines.job.contract import Cancel
from engines.job.errors import Refused, Stopped
from tests.engines.guest.images import raw


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script where qemu-img is looked for."""
    (tmp_path / "bin").mkdir()

    def put(script: str) -> None:
        path = tmp_path / "bin/qemu-img"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return put


@contextmanager
def no_room() -> Iterator[None]:
    """A full disk: no byte of a file is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_an_answer_is_whole_where_no_temporary_file_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """qemu-img ends with 0 whether or not what it prints finds room."""
    image = raw(tmp_path / "a.img")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    with no_room():
        assert told_by_qemu_img("info", "-f", "raw", str(image))["virtual-size"] == 8 << 20
        assert len(json.loads(qemu_img("map", "--output=json", "-f", "raw", str(image)))) > 3


def test_much_on_both_pipes_is_read_to_the_end(stand_in: Callable[[str], None]) -> None:
    stand_in("head -c 300000 /dev/zero | tr '\\0' y >&2; head -c 3000000 /dev/zero | tr '\\0' x")
    assert qemu_img("info") == b"x" * 3_000_000


def test_its_last_complaint_is_told(stand_in: Callable[[str], None]) -> None:
    stand_in("head -c 300000 /dev/zero | tr '\\0' y >&2; echo >&2; echo 'no such image' >&2; exit 1")
    with pytest.raises(QemuImgFailed, match=r"^no such image$"):
        qemu_img("info")
    with pytest.raises(Refused, match="no such image"):
        told_by_qemu_img("info")


def test_an_answer_without_an_end_is_given_up(stand_in: Callable[[str], None]) -> None:
    stand_in("exec cat /dev/zero")
    with pytest.raises(QemuImgFailed, match=f"more than {LONGEST >> 20} MiB"):
        qemu_img("map", within=600.0)


@pytest.mark.parametrize("script", ["exec sleep 600", "exec >&- 2>&-; exec sleep 600", "while :; do echo x; done"])
def test_a_stop_ends_it_whatever_it_does(stand_in: Callable[[str], None], script: str) -> None:
    stand_in(script)
    cancel, end = Cancel(), time.monotonic() + 0.3

    def check() -> None:
        if time.monotonic() > end:
            cancel.set()
        cancel.check()

    with pytest.raises(Stopped):
        qemu_img("convert", within=600.0, check=check)


def test_one_that_cannot_be_started_is_told(
    stand_in: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin/qemu-img").write_bytes(b"\x7fELF")
    with pytest.raises(QemuImgFailed, match="Exec format error"):
        qemu_img("info")
    (tmp_path / "bin/qemu-img").unlink()
    with pytest.raises(QemuImgFailed, match="not installed") as absent:
        qemu_img("info")
    assert absent.value.missing
