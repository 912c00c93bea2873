"""The face for scripts: look, plan, run, follow up and browse, with every promise that the command line gives.

Names come from `engines` itself: `from engines import run`. A task is called as in a job file: `virtio`, `backup`,
`backup-restore`. Parameters are those of the command line, with _ for -; a secret is a `Secret`, or `<name>_file`.
Errors: Refused (nothing was touched; `why` and `what_helps`), BadParam (a Refused that names a parameter), and from
looks and files also Failed. A run that began never raises: how it ended is in its `Ended`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engines import tasks
from engines.job import detach, runs
from engines.job import once as keys
from engines.job.contract import AnyEvent, Engine, Finished, Plan, RunFailed, RunStopped, Warned
from engines.job.errors import BadParam, Failed, Refused
from engines.job.jobfile import open_secrets
from engines.job.journal import Entry
from engines.job.params import Secret, absolute, convert
from engines.job.params import schema as params_schema
from engines.job.perform import Agree, Listen, Stop, exit_code, outliving, perform
from engines.job.runs import Run
from engines.job.work import Work, follow_up

if TYPE_CHECKING:
    from engines.backup.files.opening import BrowseTree
    from engines.backup.repository.repository import Repository

__all__ = [
    "BadParam", "Ended", "Entry", "Failed", "Plan", "Refused", "Run", "Secret", "Stop", "answer_of", "follow", "look",
    "open_files", "open_repository", "plan", "resume", "run", "schema", "start", "stop", "undo", "work",
]  # fmt: skip


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended.

    status: done, warned, failed, refused or stopped. code: its exit code, as README.md lists them.
    result: what the verb found or made, in the type that its engine declares as `result`; None unless it is done.
    What an undo did is plain data.
    folder, report: paths; the report may lack where the disk was full.
    """

    run: str
    status: str
    code: int
    summary: str
    folder: str
    report: str
    result: Any = None
    warnings: tuple[str, ...] = ()
    why: str = ""
    what_helps: str = ""
    left_behind: tuple[str, ...] = ()
    then: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the work is done, with warnings or without."""
        return self.code in (0, 4)


def look(task: str, verb: str, **params: Any) -> Any:
    """The answer of a question such as ("failover", "probe", name="shop.example.net"): plain data or a struct.

    Raises Refused, BadParam, Failed.
    """
    found = tasks.look(task, verb)
    return found.answer(convert(found.params, answer_of(found.params, params), task=f"{task} {verb}"))


def answer_of(cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A question's parameters, paths absolute and secrets read. Raises BadParam."""
    return open_secrets(cls, absolute(cls, given))


def work(task: str, given: Mapping[str, Any], secrets: Mapping[str, Secret] | None = None) -> Work[Any]:
    """A task with its parameters, ready to be planned and begun. Raises Refused, BadParam."""
    return Work.of(tasks.engine(task), given, secrets)


def plan(task: str, *, secrets: Mapping[str, Secret] | None = None, **params: Any) -> Plan:
    """What a run would do, decided without touching anything. Raises Refused, BadParam, Stopped."""
    stop = Stop()
    with outliving(stop):
        return work(task, params, secrets).plan(stop.cancel)


def run(
    task: str,
    *,
    confirm: Agree = "",
    secrets: Mapping[str, Secret] | None = None,
    listen: Listen | None = None,
    stop: Stop | None = None,
    given: Mapping[str, Any] | None = None,
    **params: Any,
) -> Ended:
    """Plan and do it in this process, to its end. Raises Refused or BadParam where it does not come to a run.

    given: more of the task's parameters, for one that is named as an argument here (biosiso-insert's `listen`).
    confirm: the word that the plan asks for, `Plan.confirm`, or a function that is shown the plan and gives the word.
    listen: hears every entry of the journal. stop: `stop.ask()` from any thread stops it; so do SIGINT and SIGTERM.
    """
    stop = stop or Stop()
    tasks.sweep(task)
    with outliving(stop):
        todo = work(task, {**params, **(given or {})}, secrets)
        made = todo.plan(stop.cancel)
        begun = todo.begin(made)
        last = perform(begun, todo.engine, plan=made, stop=stop, secrets=todo.secrets, listen=listen, confirm=confirm)
    return _ended(todo.engine, begun, last)


def start(
    task: str, *, confirm: str = "", secrets: Mapping[str, Secret] | None = None, once: str = "", **params: Any
) -> Run:
    """Plan it and do it in a process of its own, which outlives this one; see `follow` and `stop`. Raises Refused.

    once: a key; a run of it that is done, or runs, is given instead of a new one.
    """
    todo = work(task, params, secrets)
    found = keys.settle(once) if once else None
    if isinstance(found, Run):
        return found
    with found or nullcontext():
        begun = todo.begin(todo.plan())
        if found:
            found.begin(begun)
        detach.start(begun, todo.secrets, confirm, [found.descriptor] if found else [])
    return begun


def resume(
    run: str | Run,
    *,
    confirm: Agree = "",
    secrets: Mapping[str, Secret] | None = None,
    listen: Listen | None = None,
    stop: Stop | None = None,
) -> Ended:
    """Take up a run that was killed or stopped, by its stored plan; `confirm` as at its start. Raises Refused."""
    return _again(run, "resume", confirm, secrets, listen, stop)


def undo(
    run: str | Run,
    *,
    confirm: Agree = "",
    secrets: Mapping[str, Secret] | None = None,
    listen: Listen | None = None,
    stop: Stop | None = None,
) -> Ended:
    """Take a run back; `confirm` as at its start. Raises Refused where it cannot be taken back."""
    return _again(run, "undo", confirm, secrets, listen, stop)


def _again(
    run: str | Run,
    mode: str,
    confirm: Agree,
    secrets: Mapping[str, Secret] | None,
    listen: Listen | None,
    stop: Stop | None,
) -> Ended:
    stop = stop or Stop()
    begun, _ = follow_up(_found(run), mode)
    engine = tasks.engine(begun.info().task)
    with outliving(stop):
        last = perform(begun, engine, stop=stop, secrets=secrets, listen=listen, confirm=confirm)
    return _ended(engine, begun, last)


def schema(task: str) -> dict[str, Any]:
    """JSON schemas (draft 2020-12) of a task's job file (`job`) and of its result (`result`). Raises Refused."""
    engine = tasks.engine(task)
    return {"job": params_schema(engine.params, engine.name), "result": msgspec.json.schema(engine.result)}


def follow(run: str | Run, stopped: Callable[[], bool] = lambda: False) -> Iterator[Entry]:
    """Every entry of a run's journal, from the first on and as they come, to its last word. Raises Refused."""
    return detach.follow(_found(run), stopped)


def stop(run: str | Run) -> str:
    """Ask a run of another process to stop; what follows, in words. Raises Refused where nothing runs."""
    return detach.stop(_found(run))


def open_repository(where: str | Path, *, key_file: str | Path = "", passphrase: Secret | None = None) -> Repository:
    """A backup repository, a context manager: a folder, sftp://USER@HOST/FOLDER or s3://BUCKET/PREFIX.

    Raises Refused, Damaged.
    """
    from engines.backup.repository.repository import RepoParams, Repository

    given = {"repo": str(where), "key_file": str(key_file), "passphrase": passphrase}
    return Repository.of(convert(RepoParams, absolute(RepoParams, given)))


def open_files(repository: Repository, point: str) -> AbstractContextManager[BrowseTree]:
    """The files of a point, VM/DISK@TIME or VM/DISK@latest, while the `with` lasts.

    Raises Refused, Damaged, BrowseError.
    """
    from engines.backup.files.reach import opened

    return opened(repository, repository.resolve(point))


def _found(run: str | Run) -> Run:
    return runs.find(run) if isinstance(run, str) else run


def _ended(engine: Engine[Any], run: Run, last: AnyEvent) -> Ended:
    """From the last word; warnings from the journal, since the run that failed half-way warned, too."""
    from engines.job import journal

    warnings = tuple(entry.event.text for entry in journal.entries(run.journal) if isinstance(entry.event, Warned))
    about: dict[str, Any] = {"run": run.id, "folder": str(run.folder), "report": str(run.report), "warnings": warnings}
    code = exit_code(last, bool(warnings))
    match last:
        case Finished():
            status = "warned" if warnings else "done"
            found = last.result if run.info().mode == "undo" else msgspec.convert(last.result, engine.result)
            return Ended(**about, status=status, code=code, summary=last.summary, result=found, then=last.then)
        case RunStopped():
            return Ended(**about, status="stopped", code=code, summary="stopped", left_behind=last.left_behind)
        case RunFailed():
            return Ended(
                **about,
                status="refused" if last.refused else "failed",
                code=code,
                summary=last.why,
                why=last.why,
                what_helps=last.what_helps,
                left_behind=last.left_behind,
            )
    raise AssertionError(last)  # perform returns a last word
