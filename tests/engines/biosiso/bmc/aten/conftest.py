"""A machine that can share, a disc, and a board that reads it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engines.job.jobfile import Job
from engines.rehearsal.board import Board, Manners
from tests.absent import absent
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD, make_disc
from tests.ports import free_port

Boards = Callable[..., Board]


@pytest.fixture(autouse=True)
def sharing() -> None:
    if os.geteuid() != 0:
        absent("root, for an SMB share")
    for program in ("smbd", "smbclient"):
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
            absent(program)


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    return make_disc(tmp_path)


@pytest.fixture
def boards() -> Iterator[Boards]:
    """Makes boards of these manners."""
    with ExitStack() as stack:

        def make(tls: Any = None, **manners: Any) -> Board:
            return stack.enter_context(Board(PASSWORD, free_port(), Manners(**manners), tls))

        yield make


def job(disc: Path, board: Board, /, **more: Any) -> Job:
    """A job against the board on loopback."""
    given = {
        "bmc": f"127.0.0.1:{board.port}",
        "iso": str(disc),
        "listen": f"127.0.0.1:{board.smb_port}",
        "insecure_http": True,
        "timeout": 30.0,
    }
    return Job(task="biosiso-insert", params={**given, **more})


def acts(board: Board) -> list[str]:
    """The forms that change something, in a word each, looks left out."""
    words = {
        "virtual_media_share_img.cgi": "set",
        "uisopin.cgi": "mount",
        "uisopout.cgi": "unmount",
        "config_iso": "set",
        "mount_iso": "mount",
        "umount_iso": "unmount",
    }
    named = [fields.get("op", path.rsplit("/", 1)[1]) for path, fields in board.asked]
    return [words[name] for name in named if name in words]
