"""The contract between a task's engine and whoever drives it: plan as data, execute the plan, report events."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from engines.job.errors import Refused, Stopped
from engines.job.params import Params, Secret

# ── the plan ────────────────────────────────────────────────────────────────────────────────────────


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan. `no_stop` says why Stop is answered "not now" in it; empty where it can be stopped."""

    id: str
    title: str
    no_stop: str = ""


class TextChange(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """A text file as it is and as it will be; `before` is None for a new file."""

    target: str
    before: str | None
    after: str | None


class BytesChange(msgspec.Struct, frozen=True, kw_only=True, tag="bytes"):
    """A file or device that changes as a whole. Sizes in bytes, None where it does not exist."""

    target: str
    summary: str
    before_size: int | None = None
    after_size: int | None = None


class CommandChange(msgspec.Struct, frozen=True, kw_only=True, tag="command"):
    """A command that will be sent `where`, and the answer that is expected."""

    where: str
    command: str
    expects: str = ""


Change = TextChange | BytesChange | CommandChange


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a `Choice`: the parameter's value and the words the technician reads."""

    value: Any
    label: str
    why: str = ""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A decision left to the technician on the review page; picking sets `param` and plans again."""

    param: str
    question: str
    options: tuple[Option, ...]
    chosen: Any


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run will do, decided before it touches anything.

    facts: (name, value) pairs shown side by side on the review page; the first two are what must fit together.
    params: plain values, secrets left out; what `execute`, `resume` and `undo` are given has them in their types again.
    undo: how the run is taken back, or why it cannot be; `undoable` says which.
    confirm: the word to type first; empty where nothing existing is overwritten, deleted or rebooted.
    detail: what `execute` needs, as plain JSON values; never a secret.
    digest: SHA-256 over params and `state`, the before-states the steps depend on.
    """

    task: str
    target: str
    params: Any
    steps: tuple[Step, ...]
    changes: tuple[Change, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    choices: tuple[Choice, ...] = ()
    warnings: tuple[str, ...] = ()
    undo: str = ""
    undoable: bool = True
    confirm: str = ""
    detail: dict[str, Any] = {}
    state: dict[str, Any] = {}
    digest: str = ""

    def sealed(self) -> Plan:
        """This plan with its digest filled in."""
        return msgspec.structs.replace(self, digest=digest(self.params, self.state))


def digest(params: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """SHA-256 hex over parameters and before-states, independent of key order."""
    ordered = msgspec.json.encode([dict(params), dict(state)], order="sorted")
    return hashlib.sha256(ordered).hexdigest()


# ── the events ──────────────────────────────────────────────────────────────────────────────────────


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=True):
    """Something that happened in a run."""


class Started(Event, frozen=True, kw_only=True, tag="Started"):
    """First event of every journal. `mode` is do, resume or undo; `earlier` the run it continues or takes back."""

    run: str = ""
    task: str
    target: str
    steps: tuple[Step, ...] = ()
    digest: str = ""
    mode: str = "do"
    earlier: str = ""


class StepStarted(Event, frozen=True, kw_only=True, tag="StepStarted"):
    """On disk before the step acts."""

    step: str


class StepEnded(Event, frozen=True, kw_only=True, tag="StepEnded"):
    """The step is done."""

    step: str


class Progress(Event, frozen=True, kw_only=True, tag="Progress"):
    """`done` of `total` in `unit`; never goes back, `total` is fixed within a step."""

    done: int
    total: int
    unit: str = "bytes"


class Log(Event, frozen=True, kw_only=True, tag="Log"):
    """A line for the record."""

    text: str


class Warned(Event, frozen=True, kw_only=True, tag="Warned"):
    """Something the technician must read; makes the exit code 4."""

    text: str


class Asked(Event, frozen=True, kw_only=True, tag="Asked"):
    """The run waits for an answer: one of `choices`, or free text; a `secret` answer is never recorded.

    A `patient` question waits as long as it takes; any other ends the run Stopped, resumable, where nobody
    answers. Either way Stopped is raised at the `yield`, so that the engine can put things back.
    """

    question: str
    choices: tuple[str, ...] = ()
    secret: bool = False
    patient: bool = False


class Answered(Event, frozen=True, kw_only=True, tag="Answered"):
    """An answer arrived; `text` is empty for a secret one."""

    text: str = ""


class Measured(Event, frozen=True, kw_only=True, tag="Measured"):
    """A figure or reading for a live page; `kind` names its shape, `data` holds plain JSON values."""

    kind: str
    data: dict[str, Any]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the report: preformatted `text`, or a picture `file` in the run's folder.

    brief: the same in lines of at most 50 columns, for the screen on which a run ends; empty where it is not for that.
    """

    title: str
    text: str = ""
    file: str = ""
    brief: str = ""


class Finished(Event, frozen=True, kw_only=True, tag="Finished"):
    """Last word of a run that did its work. `then` is what the technician does next, in order."""

    summary: str
    result: dict[str, Any] = {}
    sections: tuple[Section, ...] = ()
    then: tuple[str, ...] = ()


class RunStopped(Event, frozen=True, kw_only=True, tag="Stopped"):
    """Last word of a run the technician stopped."""

    left_behind: tuple[str, ...] = ()


class RunFailed(Event, frozen=True, kw_only=True, tag="Failed"):
    """Last word of a run that went wrong. `refused` is true where nothing was touched."""

    why: str
    what_helps: str = ""
    left_behind: tuple[str, ...] = ()
    refused: bool = False


Told = Started | StepStarted | StepEnded | Progress | Log | Warned | Asked | Answered | Measured
AnyEvent = Told | Finished | RunStopped | RunFailed
LastWord = (Finished, RunStopped, RunFailed)

Events = Generator[AnyEvent, str | None, None]
"""What `execute` returns; the answer to a yielded `Asked` comes back from that `yield`."""


# ── running ─────────────────────────────────────────────────────────────────────────────────────────


class Cancel:
    """A stop request that work polls; thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.heard = False  # whether the work has seen that a stop is asked for

    def __bool__(self) -> bool:
        self.heard = self.heard or self._event.is_set()
        return self._event.is_set()

    def set(self) -> None:
        """Ask for a stop."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped where a stop was asked for."""
        if self:
            raise Stopped()

    def sleep(self, seconds: float) -> None:
        """Wait, but wake and raise Stopped as soon as a stop is asked for."""
        if self._event.wait(seconds):
            self.heard = True
            raise Stopped()


@dataclass(frozen=True)
class Context:
    """What a run lends its engine.

    folder: the run's own folder, for undo material, screenshots and transcripts.
    earlier: folder of the run that is resumed or undone, else None.
    secrets: by parameter name; one that is missing is asked for with Asked(secret=True).
    """

    cancel: Cancel
    folder: Path
    earlier: Path | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Folder of the run that began the work: notes there are seen by whatever resumes or undoes it later."""
        return self.earlier or self.folder


P = TypeVar("P", bound=Params)


class Engine(Protocol[P]):
    """One task's front door. `name` is the job file's `task`; `verb` the CLI's second word, empty for none.

    kind: "work" changes nothing that existed; "change" may.
    A killed run is taken up by `resume` and taken back by `undo`; both use the stored plan and the
    earlier run's folder (`context.earlier`), never a new plan.
    An engine that keeps hold of its target from plan to execute says so with a class attribute `holds = True`;
    for any other the run plans anew under the target's lock and compares digests.
    irreversible: why no run of it can be taken back; empty where `undo` can.
    serves: the step at whose start what the run serves is there; `--detach` waits for it. Empty for others.
    result: a struct whose fields are the keys of `Finished.result`, as `execute` and `resume` give it.
    """

    name: ClassVar[str]
    verb: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[str]
    holds: ClassVar[bool] = False
    serves: ClassVar[str] = ""
    irreversible: ClassVar[str] = ""
    result: ClassVar[type[Any]] = dict
    params: type[P]

    def target(self, params: P) -> str:
        """The identity that is locked for the run: a path's dev:inode, a device's rdev, a switch's own name."""
        ...

    def plan(self, params: P, cancel: Cancel) -> Plan:
        """Look, never touch. Raises Refused."""
        ...

    def execute(self, plan: Plan, context: Context) -> Events:
        """Do exactly the plan; the first event is the first StepStarted, the last is Finished."""
        ...

    def resume(self, plan: Plan, context: Context) -> Events:
        """Take up a killed or stopped run: by default the stored plan once more. Raises Refused where it cannot be."""
        yield from self.execute(plan, context)

    def undo(self, plan: Plan, context: Context) -> Events:
        """Take a run back. Raises Refused where that cannot be done; by default it is an `irreversible` one."""
        del context
        raise Refused(f"run on {plan.target} cannot be taken back", self.irreversible)
        yield  # a generator, as `Events` says


def planned(engine: Engine[P], params: P, cancel: Cancel) -> Plan:
    """The engine's plan; one that can never be taken back says so beforehand. Raises Refused."""
    plan = engine.plan(params, cancel)
    if not engine.irreversible:
        return plan
    return msgspec.structs.replace(plan, undoable=False, undo=plan.undo or engine.irreversible)


@dataclass(frozen=True)
class Note:
    """A line for people beside a look's answer: it goes to stderr."""

    text: str


@dataclass(frozen=True)
class Look:
    """A question that needs no plan: `answer` returns plain data, `table` says it in lines for people.

    stream: where an answer may be long, gives it to people piece by piece instead: lines, raw bytes, notes.
    code: the exit code that an answer has, for scripts; without it, 0.
    """

    verb: str
    title: str
    params: type[Any]
    answer: Callable[[Any], Any]
    table: Callable[[Any], str] = str
    stream: Callable[[Any], Iterator[str | bytes | Note]] | None = None
    code: Callable[[Any], int] | None = None
