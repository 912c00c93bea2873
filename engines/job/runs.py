"""The record of runs on disk: one folder a run, found by name, with a status that a killed process cannot fake."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from engines.host.files import write_whole
from engines.host.holder import Holder
from engines.job import birth, folders, journal, unfinished
from engines.job.contract import (
    Asked,
    Finished,
    LastWord,
    Plan,
    RunFailed,
    RunStopped,
    Started,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Refused, meant
from engines.job.jobfile import Job, dump, parse
from engines.job.journal import Entry

T = TypeVar("T")


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was started as. `mode` is do, resume or undo; `reviewed` the digest that was seen, if any.

    created: Unix time in s. created_ns: the same in ns, and after that of every run before it, whatever the clock did;
    0 in records of before it was kept.
    """

    id: str
    task: str
    target: str
    mode: str = "do"
    earlier: str = ""
    reviewed: str = ""
    created: float = 0.0
    created_ns: int = 0

    @property
    def born(self) -> int:
        """What sorts runs, in ns: many can begin in one second, and a clock can be set back."""
        return self.created_ns or int(self.created * 1e9)


class Run:
    """One run's folder."""

    def __init__(self, folder: Path, job: Job | None = None) -> None:
        self.folder = folder
        self.id = folder.name
        self._job = job

    @property
    def journal(self) -> Path:
        """Its events."""
        return self.folder / "journal.jsonl"

    @property
    def report(self) -> Path:
        """Its report as Markdown; there once the run has its last word."""
        return self.folder / "report.md"

    def info(self) -> Info:
        """What it was started as. Raises Refused where its record cannot be read."""
        return self._kept("run.json", Info)

    def readable(self) -> bool:
        """Whether its record is there and whole."""
        try:
            self.info()
        except Refused:
            return False
        return True

    def job(self) -> Job:
        """The job it does."""
        return self._job or parse((self.folder / "job.yaml").read_bytes(), str(self.folder / "job.yaml"))

    def plan(self) -> Plan | None:
        """The plan it executes; None where it never got that far."""
        return self._kept("plan.json", Plan) if (self.folder / "plan.json").exists() else None

    def _kept(self, name: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError) as error:
            why = f"run {self.id}: {name} cannot be read ({error})"
            raise Refused(why, f"look at {self.folder}; the journal there tells what was done") from None

    def holder(self) -> Holder | None:
        """The process that performs or performed it; None before one took it up."""
        try:
            return msgspec.json.decode((self.folder / "holder.json").read_bytes(), type=Holder)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def keep(self, name: str, content: bytes) -> None:
        """Write a file of the run's folder so that it is there whole or not at all."""
        write_whole(self.folder / name, content)

    def status(self) -> str:
        """starting, running, asking, done, warned, failed, refused, stopped or interrupted (killed, no last word)."""
        return self.status_by(journal.entries(self.journal))

    def status_by(self, found: list[Entry]) -> str:
        """The same, where its journal was read already."""
        return status_of(found, self._alive())

    def _alive(self) -> bool:
        holder = self.holder()
        if holder is None:
            return time.time() - self.folder.stat().st_ctime < 30.0  # s; a detached child needs a moment to sign
        return holder.alive()


def status_of(found: list[journal.Entry], alive: bool) -> str:
    """The status that a journal tells, with what the process table adds."""
    last = found[-1].event if found else None
    match last:
        case Finished():
            return "warned" if any(isinstance(entry.event, Warned) for entry in found) else "done"
        case RunFailed(refused=True):
            return "refused"
        case RunFailed():
            return "failed"
        case RunStopped():
            return "stopped"
    if not alive:
        return "interrupted"
    if isinstance(last, Asked):
        return "asking"
    return "running" if found else "starting"


def home() -> Path:
    """The folder of all runs: $XDG_STATE_HOME/crashcart/runs. Raises Refused where another user has a say there."""
    return folders.state("runs")


def create(job: Job, target: str, *, mode: str = "do", earlier: str = "", reviewed: str = "") -> Run:
    """A new run's folder, mode 0700. `target` is the words the technician knows it by. Raises Refused."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(target).name or target).strip("-.")[:40] or "target"
    task = job.task if mode == "do" else f"{job.task}-{mode}"
    try:
        home().mkdir(mode=0o700, parents=True, exist_ok=True)
        run = Run(_fresh(home(), f"{stamp}-{task}-{words}"), job)
        _mark(run.id)
        now = time.time_ns()
        born = birth.after_all(home(), now, _newest_born)
        info = Info(
            id=run.id,
            task=job.task,
            target=target,
            mode=mode,
            earlier=earlier,
            reviewed=reviewed,
            created=now / 1e9,
            created_ns=born,
        )
        run.keep("job.yaml", dump(job).encode())
        run.keep("run.json", msgspec.json.encode(info))
        if earlier:
            unfinished.clear(home(), earlier)
    except OSError as error:
        raise Refused(
            f"{home()}: {error.strerror}", "make room or set XDG_STATE_HOME to a folder that can be written"
        ) from None
    return run


def _mark(name: str) -> None:
    """Have a run that begins named among the unfinished, with those of before there were such marks."""
    old = [] if unfinished.marked(home()) is not None else [run.id for run in _unfinished()]
    for begun in [*old, name]:
        unfinished.mark(home(), begun)


def _newest_born() -> int:
    return max((run.info().born for run in every()), default=0)


def _fresh(parent: Path, name: str) -> Path:
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(mode=0o700)
            return folder
        except FileExistsError:
            continue
    raise Refused(f"{name} was started 999 times in this second", "wait a second")


def every() -> list[Run]:
    """All runs whose record can be read, newest first, by the order in which they were created. Raises Refused."""
    try:
        found = [Run(entry) for entry in home().iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        why = f"{home()} cannot be read: {(error.strerror or str(error)).lower()}"
        raise Refused(why, "make it readable, or set XDG_STATE_HOME to a folder that is") from None
    born: dict[str, int] = {}
    for run in found:
        with suppress(Refused):
            born[run.id] = run.info().born
    return sorted((run for run in found if run.id in born), key=lambda run: (born[run.id], run.id), reverse=True)


def find(name: str) -> Run:
    """The run of that id, of that unique beginning, or the newest one for `last`. Raises Refused."""
    runs = every()
    if name == "last" and runs:
        return runs[0]
    exact = [run for run in runs if run.id == name]
    close = exact or [run for run in runs if name and run.id.startswith(name)]
    if len(close) == 1:
        return close[0]
    if close:
        raise Refused(
            f"{name} fits {len(close)} runs", "give more of the name: " + ", ".join(run.id for run in close[:3])
        )
    if name == "last":
        raise Refused("there is no run yet", "start one: crashcart --help")
    close_to = meant(name, ["last", *(run.id for run in runs)])
    raise Refused(f"no run is called {name!r}", f"{close_to}{'; ' if close_to else ''}see them all: crashcart runs")


def followed_up() -> dict[str, str]:
    """By run id: the id of the run that has since resumed or undone it (or begun to)."""
    infos = [run.info() for run in reversed(every())]
    return {info.earlier: info.id for info in infos if info.earlier}


def interrupted(target: str = "") -> Iterator[Run]:
    """Runs that were killed with a plan in hand and neither resumed nor undone since, of one target or of all."""
    for run in _unfinished():
        if target and run.info().target != target:
            continue
        if journal.ended(run.journal):
            unfinished.clear(home(), run.id)
        elif run.plan() is not None and run.status() == "interrupted":
            yield run


def _unfinished() -> list[Run]:
    """Runs that may have no last word: those marked, or all that nobody followed up where no marks were kept."""
    names = unfinished.marked(home())
    if names is None:
        later = followed_up()
        return [run for run in every() if run.id not in later]
    known = home()
    return [run for run in (Run(known / name) for name in names) if run.readable()]


def step_now(found: list[journal.Entry]) -> str:
    """The id of the step that a journal is in; empty between steps."""
    now = ""
    for entry in found:
        match entry.event:
            case StepStarted(step=step):
                now = step
            case StepEnded() | Started():
                now = ""
            case event if isinstance(event, LastWord):
                now = ""
    return now
