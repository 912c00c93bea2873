"""What qemu-img says is had whole or not at all, and it has an end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
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


ASKS = """\
import json, resource, sys
from engines.guest.target import told_by_qemu_img
from engines.host.qemu_img import qemu_img
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
size = told_by_qemu_img("info", "-f", "raw", sys.argv[1])["virtual-size"]
print(size, len(json.loads(qemu_img("map", "--output=json", "-f", "raw", sys.argv[1]))))
"""


def test_an_answer_is_whole_where_no_temporary_file_can_be_made(tmp_path: Path) -> None:
    """qemu-img ends with 0 whether or not what it prints finds room; in a process that no byte of a file is left to."""
    image = raw(tmp_path / "a.img")
    told = subprocess.run(
        [sys.executable, "-c", ASKS, image],
        env={**os.environ, "TMPDIR": str(tmp_path / "nowhere")},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.stderr == ""
    size, extents = map(int, told.stdout.split())
    assert size == 8 << 20 and extents > 3


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


def test_what_the_check_itself_raises_is_not_taken_for_qemu_imgs(stand_in: Callable[[str], None]) -> None:
    stand_in("exec sleep 600")

    def check() -> None:
        raise FileNotFoundError("the caller's own")

    with pytest.raises(FileNotFoundError, match="the caller's own"):
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
