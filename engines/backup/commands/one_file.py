"""backup export and import: one point as one file, which is a repository with a single point."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.commands.copy import Copy, CopyParams
from engines.backup.commands.on_repository import OnRepository
from engines.backup.commands.own_file import is_own, note_own
from engines.backup.commands.passing import STEPS, Told, passed, taken_out
from engines.backup.commands.thinning import put_back
from engines.backup.errors import NoRoom
from engines.backup.new_place import refuse_place
from engines.backup.repository import config
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, lacks_passphrase, where
from engines.backup.repository.unlocking import opened
from engines.backup.store.local import LocalStore
from engines.backup.store.tar import packed, partial_of
from engines.job.contract import (
    AnyEvent,
    BytesChange,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Plan,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Failed, Refused
from engines.job.lock import name_identity
from engines.job.params import Secret, param, plain


class ExportParams(RepoParams, frozen=True, kw_only=True):
    """Which point, into which file."""

    point: Annotated[
        str,
        param("Point", "VM/DISK@TIME or VM/DISK@latest", pattern=names.POINT, allowed="VM/DISK@TIME", positional=True),
    ]
    file: Annotated[
        str, param("File", "a new file; it is a repository that holds this one point", kind="output", positional=True)
    ]


class Export(OnRepository[ExportParams]):
    """`crashcart backup export`."""

    name: ClassVar[str] = "backup-export"
    verb: ClassVar[str] = "export"
    title: ClassVar[str] = "one point as one file"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Copied
    params = ExportParams

    @override
    def target(self, params: ExportParams) -> str:
        return name_identity(Path(params.file))

    @override
    def plan(self, params: ExportParams, cancel: Cancel) -> Plan:
        path = Path(params.file)
        if path.exists() or path.is_symlink():
            raise Refused(f"{path} exists", "name a new file")
        refuse_place(params.file, "a file")
        if not path.parent.is_dir():
            raise Refused(f"{path.parent} does not exist", "make it first, or name another place")
        return super().plan(params, cancel)

    @override
    def plan_on(self, glance: NamesOnly, params: ExportParams, cancel: Cancel) -> Plan:
        path = Path(params.file)
        name = glance.resolve(params.point)
        locked = glance.config.cipher != "none"
        return Plan(
            task=self.name,
            target=str(path),
            params={"point": str(name)},
            steps=(*STEPS, Step(id="pack", title=f"Write {path}", no_stop="it is being written")),
            facts=(
                ("point", str(name)),
                ("file", str(path)),
                ("locked by", "the key that opens the repository" if locked else "nothing"),
            ),
            changes=(BytesChange(target=str(path), summary="a new file"),),
            undo="the file is removed",
            state={"point": str(name), "repository": glance.config.id},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="copy")
        params: ExportParams = plan.params
        path = Path(params.file)
        if is_own(context.earlier, path):
            yield from _whole(plan, path)
            return
        source = yield from opened(params, context)
        with source, _beside(path) as folder:
            source.load()
            store = LocalStore(folder)
            made = config.create(store, cipher=source.config.cipher, unlock=source.unlock)
            target = Repository(store, made, config.unlocked(made, source.unlock), source.unlock)
            last: AnyEvent | None = None
            told = Told(str(path), "none", "exported to", "look into it: crashcart backup list --repo")
            try:
                for event in passed(source, target, [names.parse(params.point)], context, told):
                    if isinstance(event, Finished):
                        last = event
                        continue
                    yield event
            except NoRoom:
                raise Failed(
                    f"the disk of {path} is full",
                    "nothing of it is left there; make room for twice what the point stores, or name another place",
                ) from None
            target.index.flush(always=True)
            yield StepStarted(step="pack")
            try:
                packed(folder, path, lambda whole: note_own(context.home, whole.stat()))
            except FileExistsError:
                raise Refused(f"{path} was made meanwhile", "name a new file") from None
            except OSError as error:
                raise Failed(f"{path}: {error.strerror}", "make room there, or name another place") from None
        yield StepEnded(step="pack")
        assert last is not None
        yield last

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="pack")
        path = Path(plan.params.file)
        ours = is_own(context.earlier, path)
        if ours:
            path.unlink()
        shutil.rmtree(_folder(path), ignore_errors=True)
        partial_of(path).unlink(missing_ok=True)
        yield StepEnded(step="pack")
        yield Finished(summary=f"{path} is removed" if ours else f"there is no {path} that this run made")


def _whole(plan: Plan, path: Path) -> Events:
    """A run that was killed behind its last rename left nothing to do."""
    yield StepEnded(step="copy")
    for step in plan.steps[1:]:
        yield StepStarted(step=step.id)
        yield StepEnded(step=step.id)
    yield Finished(
        summary=f"{path} had been written whole",
        result={"points": (plan.params.point,), "read": 0, "stored": 0, "checked": 0},
        then=(f"look into it: crashcart backup list --repo {shlex.quote(str(path))}",),
    )


def _folder(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.export")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder on the same disk, gone afterwards; what a killed run left there is taken away first."""
    folder = _folder(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class ImportParams(RepoParams, frozen=True, kw_only=True):
    """Which file, into which repository."""

    file: Annotated[str, param("File", "what backup export wrote", kind="file", positional=True)]
    file_key_file: Annotated[str, param("Key file of the file", "opens it", kind="file")] = ""
    file_passphrase: Annotated[Secret | None, param("Passphrase of the file", "opens it")] = None

    @override
    def asks(self) -> tuple[str, ...]:
        of_file = lacks_passphrase(self.file, self.file_key_file, self.file_passphrase)
        return (*super().asks(), *(("file_passphrase",) if of_file else ()))


class Import(Engine[ImportParams]):
    """`crashcart backup import`."""

    name: ClassVar[str] = "backup-import"
    verb: ClassVar[str] = "import"
    title: ClassVar[str] = "the point of an exported file, into a repository"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Copied
    params = ImportParams

    def _as_copy(self, params: ImportParams, repo: str) -> CopyParams:
        return CopyParams(
            repo=params.file, key_file=params.file_key_file, passphrase=params.file_passphrase, to=repo,
            to_key_file=params.key_file, to_passphrase=params.passphrase,
        )  # fmt: skip

    @override
    def target(self, params: ImportParams) -> str:
        return Copy().target(self._as_copy(params, where(params)))

    @override
    def plan(self, params: ImportParams, cancel: Cancel) -> Plan:
        plan = Copy().plan(self._as_copy(params, where(params)), cancel)
        return msgspec.structs.replace(plan, task=self.name, params={**plain(params), "repo": where(params)}).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        params: ImportParams = plan.params
        given = context.secrets
        swapped = {"passphrase": given.get("file_passphrase"), "to_passphrase": given.get("passphrase")}
        secrets = {name: secret for name, secret in swapped.items() if secret}
        as_copy = msgspec.structs.replace(plan, params=self._as_copy(params, params.repo))
        yield from Copy().execute(as_copy, dataclasses.replace(context, secrets=secrets))

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        params: ImportParams = plan.params
        put_back(params.repo, context)
        there = RepoParams(repo=params.repo, key_file=params.key_file, passphrase=context.secrets.get("passphrase"))
        yield from taken_out(there, plan.detail["points"], context)
