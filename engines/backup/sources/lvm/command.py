"""LVM's commands, run so that a killed backup never leaves one half-way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import NoReturn

from engines.job.errors import Failed, Refused

LOOKS_WITHIN = 60.0  # s; lvs reads the label of every disk, and a dying one makes each of them wait
CHANGES_WITHIN = 180.0  # s


def look(argv: Sequence[str]) -> bytes:
    """What a command that changes nothing prints. Raises Refused."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), timeout=LOOKS_WITHIN, check=False
        )
    except FileNotFoundError:
        _missing(argv[0])
    except subprocess.TimeoutExpired:
        raise Refused(
            f"{argv[0]} says nothing for {LOOKS_WITHIN:.0f} s",
            "a disk may be dying: look at dmesg, or filter it out in lvm.conf",
        ) from None
    if done.returncode:
        raise Refused(f"{argv[0]}: {last_word(done.stderr)}", "see for yourself: lvs -a")
    return done.stdout


def change(argv: Sequence[str]) -> None:
    """Run a command that changes the volume group. Raises Failed with LVM's own words.

    It stands in a session of its own and is never killed, not even with this process: killed between its
    suspend and its resume it would leave the VM's disk standing still.
    """
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
    except FileNotFoundError:
        _missing(argv[0])
    try:
        _, said = child.communicate(timeout=CHANGES_WITHIN)
    except subprocess.TimeoutExpired:
        raise Failed(
            f"{argv[0]} has not ended after {CHANGES_WITHIN:.0f} s",
            f"let it be (process {child.pid}); killed now it may leave a disk suspended: dmsetup info -c",
        ) from None
    if child.returncode:
        raise Failed(f"{' '.join(argv[:1])}: {last_word(said)}", "see what is there: lvs -a")


def last_word(said: bytes) -> str:
    """LVM's reason: the last line that is no warning."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith("WARNING")] or lines or ["no word"]
    return "".join(char for char in reasons[-1] if char.isprintable()).rstrip(".")


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}


def _missing(name: str) -> NoReturn:
    raise Refused(f"{name} is not installed", "apt-get install lvm2")
