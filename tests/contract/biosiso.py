"""Discs for BIOS updates, and a board that gets one."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from engines import tasks
from engines.job.params import Secret
from engines.rehearsal import firmware
from tests.contract.target import Case, Target, named
from tests.engines.biosiso.bmc import redfish_board, redfish_emulator


@cache
def firmware_made() -> Path:
    """One rehearsal package for all cases: assembling and packing it takes longer than a build."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    firmware.make(folder)
    return folder


def disc(folder: Path) -> dict[str, Any]:
    shutil.copytree(firmware_made(), folder, dirs_exist_ok=True)
    return {
        "firmware": str(folder / "x9scm2_608.zip"),
        "dos": str(folder / "probe" / "BTDSK.IMG"),
        "output": str(folder / "out" / "bios.iso"),
        "board": "X9SCM-F",
    }


def disc_over_a_file(folder: Path) -> dict[str, Any]:
    params = disc(folder)
    Path(params["output"]).write_bytes(b"an older disc")
    return params


@contextmanager
def inserted(folder: Path) -> Iterator[Target]:
    """A board with an empty drive."""
    with redfish_board.Board() as board:
        job = redfish_board.job(redfish_emulator.make_disc(folder), board.port)

        def state() -> Any:
            return {path: board.tree(path) for path in (redfish_board.SLOT, redfish_board.SYSTEM)}

        yield Target(tasks.engine("biosiso-insert"), job, state, {"password": Secret(redfish_emulator.PASSWORD)})


CASES = (
    Case(
        "biosiso",
        named("biosiso"),
        disc,
        ({"firmware": "/nowhere"}, {"dos": ""}, {"output": "/nowhere/x.iso"}, {"rom": "x.1"}),
    ),
    Case("biosiso over a file", named("biosiso"), disc_over_a_file, ({"board": "X9SCM-iiF"}, {"switches": "/X"})),
    Case(
        "biosiso insert",
        named("biosiso-insert"),
        inserted,
        ({"iso": "/nowhere"}, {"bmc": "127.0.0.1:1"}),
        moments=6,
        passes=True,
    ),
)
