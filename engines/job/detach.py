"""A run in a process of its own: start it so that no lost line reaches it, follow it, stop it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from engines.host.child import module
from engines.host.child import start as start_child
from engines.job import journal
from engines.job.contract import LastWord, Plan
from engines.job.errors import Refused
from engines.job.jobfile import Job
from engines.job.params import Secret
from engines.job.runs import Run, step_now

TICK = 0.1  # s between looks at a journal
REPORTED_WITHIN = 5.0  # s between a last word and its report, on a busy machine


class Handed(msgspec.Struct):
    """What a child gets on stdin: a pipe, so that a secret is in no argv, environment or file."""

    job: Job
    secrets: dict[str, str] = {}
    confirm: str = ""


class Planned(msgspec.Struct):
    """What a planning child says on stdout: a plan, or why not; `param` names the field at fault, if one is.

    lines: where more than one thing is wrong, one each.
    """

    plan: Plan | None = None
    why: str = ""
    what_helps: str = ""
    param: str = ""
    lines: tuple[str, ...] = ()


def _handed(job: Job, secrets: Mapping[str, Secret], confirm: str = "") -> bytes:
    return msgspec.json.encode(Handed(job, {name: secret.reveal() for name, secret in secrets.items()}, confirm))


def start(run: Run, secrets: Mapping[str, Secret] | None = None, confirm: str = "", keep: Sequence[int] = ()) -> None:
    """Perform `run` in a session, and where systemd runs a scope, of its own. Raises Refused where it cannot begin.

    confirm: the word that its plan asks for. keep: descriptors whose locks it holds to its end.
    """
    argv = module("engines.child", "perform", str(run.folder))
    with (run.folder / "child.log").open("wb") as log:
        child = start_child([*_scope(run.id), *argv], stdout=log, stderr=log, keep=keep)
    assert child.stdin is not None
    try:
        child.stdin.write(_handed(run.job(), secrets or {}, confirm))
        child.stdin.close()
    except BrokenPipeError:
        raise Refused(f"run {run.id} did not start", f"see {run.folder / 'child.log'}") from None
    deadline = time.monotonic() + 30.0
    while run.holder() is None and time.monotonic() < deadline:
        if child.poll() is not None:
            raise Refused(f"run {run.id} did not start", f"see {run.folder / 'child.log'}")
        time.sleep(0.02)


def _scope(name: str) -> list[str]:
    """The systemd-run prefix that moves a run out of the login's scope (logind may end those at logout)."""
    if not Path("/run/systemd/system").is_dir() or not shutil.which("systemd-run"):
        return []
    scope = ["systemd-run", "--quiet", "--collect", "--scope"] + ([] if os.geteuid() == 0 else ["--user"])
    tried = subprocess.run([*scope, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return [*scope, f"--unit={unit(name)}", "--"] if tried.returncode == 0 else []


def unit(name: str) -> str:
    """What systemd calls the scope of a run: its own, since runs of two homes may share a name."""
    return f"crashcart-{name}-{os.urandom(4).hex()}"


def plan(job: Job, secrets: Mapping[str, Secret], stopped: Callable[[], bool]) -> Planned:
    """Plan in a child, so that looking (which may boot an appliance) can be stopped at once and crash alone."""
    argv = module("engines.child", "plan")
    with start_child(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        handed: bytes | None = _handed(job, secrets)
        while True:
            try:
                said, narrated = child.communicate(handed, timeout=TICK)
                break
            except subprocess.TimeoutExpired:
                handed = None
                if stopped():
                    os.killpg(child.pid, signal.SIGKILL)
    try:
        return msgspec.json.decode(said, type=Planned)
    except msgspec.DecodeError:
        if stopped():
            return Planned(why="looking was stopped", what_helps="nothing was touched; go on when ready")
        last = narrated.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
        return Planned(why=f"looking ended early: {last[0]}", what_helps="nothing was touched; try again")


def follow(run: Run, stopped: Callable[[], bool] = lambda: False) -> Iterator[journal.Entry]:
    """Every entry from the first on, as they come, until the last word or until the process is gone."""
    return (entry for entry in looks(run, stopped) if entry is not None)


def looks(run: Run, stopped: Callable[[], bool] = lambda: False) -> Iterator[journal.Entry | None]:
    """The same, and None after each look, so that who follows a run that is silent has a turn."""
    offset = 0
    while not stopped():
        holder = run.holder()
        gone = holder is not None and not holder.alive()
        for entry, behind in journal.read(run.journal, offset):
            offset = behind
            yield entry
            if isinstance(entry.event, LastWord):
                _reported(run)
                return
        if gone or (holder is None and run.status() == "interrupted"):
            return
        yield None
        time.sleep(TICK)


def _reported(run: Run) -> None:
    """Wait for the report, which is made of a journal that is complete: whoever followed the run looks for it next."""
    deadline = time.monotonic() + REPORTED_WITHIN
    while not run.report.exists() and time.monotonic() < deadline:
        holder = run.holder()
        if holder is None or not holder.alive():
            return
        time.sleep(0.02)


def stop(run: Run) -> str:
    """Ask a run to stop and say what follows. Raises Refused where nothing runs."""
    holder = run.holder()
    if holder is None or not holder.alive():
        raise Refused(f"run {run.id} is not running ({run.status()})", "see them all: crashcart runs")
    plan_now = run.plan()
    step = step_now(journal.entries(run.journal))
    held = next((known.no_stop for known in plan_now.steps if known.id == step), "") if plan_now else ""
    try:
        os.kill(holder.pid, signal.SIGINT)
    except PermissionError:
        raise Refused(f"run {run.id} belongs to another user", "stop it as that user, or as root") from None
    return f"not now, because {held}; it stops after this step" if held else "stopping"
