"""backup copy, export and import: points in a second repository, or one in a file, under keys of their own."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import names, results
from engines.backup.errors import Damaged, no_room
from engines.backup.names import PointName
from engines.backup.new_place import refuse_devices
from engines.backup.repository import catalogue, config
from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.backup.repository.sessions import Presence
from engines.backup.repository.unlocking import opened
from engines.backup.store import uplink
from engines.backup.store.local import LocalStore
from engines.backup.store.tar import packed
from engines.backup.store.uplink import Uplink
from engines.backup.upkeep import copying, counted, retention
from engines.backup.upkeep.copying import Copying
from engines.backup.upkeep.retention import Rules
from engines.job import units
from engines.job.contract import (
    AnyEvent,
    BytesChange,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Plan,
    Progress,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Failed, Refused
from engines.job.params import Secret, param, plain

STEPS = (
    Step(id="copy", title="Copy what is not there yet"),
    Step(id="check", title="Read back what was stored"),
)
FROM = param("From", "the repository that has the points", kind="folder", positional=True)


class CopyParams(RepoParams, frozen=True, kw_only=True):
    """From where, to where, and which points. keep_…: only the points that such rules would keep there."""

    repo: Annotated[str, FROM]
    to: Annotated[str, param("To", "a repository of its own kind, key and place", kind="folder", positional=True)]
    only: Annotated[
        tuple[str, ...], param("VM", "a VM or VM/DISK by its whole name; all without", positional=True)
    ] = ()
    to_key_file: Annotated[str, param("Key file there", "opens the other repository", kind="file")] = ""
    to_passphrase: Annotated[Secret | None, param("Passphrase there", "opens the other repository")] = None
    uplink: Annotated[
        str, param("Uplink", "how fast it is written there: 30M, none, or '07:00-22:00 30M, else none'", metavar="RATE")
    ] = "none"
    keep_last: Annotated[int, param("Keep last", "copy this many newest points of each disk", ge=0, le=100000)] = 0
    keep_daily: Annotated[int, param("Keep daily", "the newest of this many days", ge=0, le=100000)] = 0
    keep_weekly: Annotated[int, param("Keep weekly", "the newest of this many weeks", ge=0, le=100000)] = 0
    keep_monthly: Annotated[int, param("Keep monthly", "the newest of this many months", ge=0, le=100000)] = 0
    keep_yearly: Annotated[int, param("Keep yearly", "the newest of this many years", ge=0, le=100000)] = 0


class Copy(Engine[CopyParams]):
    """`crashcart backup copy`."""

    name: ClassVar[str] = "backup-copy"
    verb: ClassVar[str] = "copy"
    title: ClassVar[str] = "copy points to another repository"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Copied
    params = CopyParams

    @override
    def target(self, params: CopyParams) -> str:
        return f"backup copy {hashlib.sha256(_there(params).encode()).hexdigest()}"

    @override
    def plan(self, params: CopyParams, cancel: Cancel) -> Plan:
        uplink.parse(params.uplink)
        with Repository.glance(where(params)) as source, Repository.glance(_there(params)) as target:
            if source.config.id == target.config.id:
                raise Refused(f"{source.store.where} and {target.store.where} are one repository", "name another")
            known, there = _selected(source, params.only), set(target.names())
            new = [name for name in known if name not in there]
            return Plan(
                task=self.name,
                target=target.store.where,
                params={**plain(params), "repo": source.store.where, "to": target.store.where},
                steps=STEPS,
                facts=(
                    ("from", source.store.where),
                    ("to", target.store.where),
                    ("points", f"{len(known)}, of which {len(new)} are not there yet"),
                    ("locked there by", target.config.cipher),
                ),
                warnings=_leaks(source.config.cipher, target.config.cipher),
                undo="the points are taken out there again; what only they need goes with the next gc there",
                detail={"points": [str(name) for name in known]},
                state={"from": source.config.id, "to": target.config.id, "new": [str(name) for name in new]},
            ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="copy")
        params: CopyParams = plan.params
        with ExitStack() as open_:
            source = open_.enter_context((yield from opened(params, context)))
            other = RepoParams(repo=params.to, key_file=params.to_key_file)
            target = open_.enter_context((yield from opened(other, _secrets_there(context))))
            source.load()
            chosen = _kept(source, [names.parse(text) for text in plan.detail["points"]], params)
            yield from _copied(source, target, chosen, context, _Told(target.store.where, params.uplink))

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield from _taken_out(plan.params.to, context)


@dataclasses.dataclass(frozen=True)
class _Told:
    """How fast it goes, and how the last word speaks."""

    where: str
    uplink: str = "none"
    verb: str = "copied to"
    then: str = "prove it: crashcart backup verify --repo"


def _copied(
    source: Repository, target: Repository, chosen: Sequence[PointName], context: Context, told: _Told
) -> Events:
    """Copy the points, then read back what was stored; the step `copy` has begun."""
    there = set(target.names())
    pins = tuple(name.path() for name in chosen)
    with (
        Presence(source.store, "read", f"copy to {target.store.where}", pins=pins),
        Presence(target.store, "write", f"copy from {source.store.where}") as presence,
    ):
        catalogue.look(target, presence)
        work = Copying(source, target, presence, Uplink(uplink.parse(told.uplink), context.cancel.sleep))
        try:
            yield from _points(work, source, target, chosen, there)
            work.commit()
        except OSError as error:
            work.leave()
            raise no_room(target.store.where, error) from None
        except BaseException:
            work.leave()
            raise
        finally:
            context.folder.joinpath("point.json").write_bytes(msgspec.json.encode({"points": work.made}))
        yield StepEnded(step="copy")
        yield StepStarted(step="check")
        for done, total in work.check():
            yield Progress(done=done, total=total, unit="records")
        yield StepEnded(step="check")
    yield Finished(
        summary=f"{len(work.made)} points {told.verb} {told.where}: {units.size(work.read)} read,"
        f" {units.size(work.stored)} stored, all of it read back",
        result={"points": tuple(work.made), "read": work.read, "stored": work.stored, "checked": work.checked},
        then=(f"{told.then} {told.where}",),
    )


def _points(
    work: Copying, source: Repository, target: Repository, chosen: Sequence[PointName], there: set[PointName]
) -> Iterator[AnyEvent]:
    heads = {name: found for name, found in source.heads(list(chosen)).items()}
    total = sum(0 if isinstance(head, Damaged) else head.size for head in heads.values())
    before = 0
    for name, head in heads.items():
        if isinstance(head, Damaged):
            yield Warned(text=f"{name} is not copied: {head.why}")
            continue
        if name in there:
            if not copying.same(source, target, name):
                yield Warned(text=f"{name} is left alone: there is another point of that name there")
            work.before(name)
        else:
            for done in work.point(name):
                yield Progress(done=before + done, total=total)
        before += head.size
        yield Progress(done=before, total=total)


def _kept(source: Repository, known: list[PointName], params: CopyParams) -> list[PointName]:
    """Those that the rules keep; all without a rule."""
    rules = Rules(
        last=params.keep_last,
        daily=params.keep_daily,
        weekly=params.keep_weekly,
        monthly=params.keep_monthly,
        yearly=params.keep_yearly,
    )
    if not rules:
        return known
    stay: set[PointName] = set()
    seen = counted.by_heads(source.heads(known), retention.zone("UTC"), time.time())
    for _, disk in groupby(seen, key=lambda one: (one.name.vm, one.name.disk)):
        stay |= set(retention.kept(list(disk), rules))
    return [name for name in known if name in stay]


def _there(params: CopyParams) -> str:
    return where(RepoParams(repo=params.to))


def _selected(source: NamesOnly, only: Sequence[str]) -> list[PointName]:
    """Raises Refused where one means nothing."""
    known = source.names()
    for text in only:
        if not any(names.selected(name, text) for name in known):
            raise Refused(f"{source.store.where} has no disk {text!r}", "see those: crashcart backup list")
    return [name for name in known if not only or any(names.selected(name, text) for text in only)]


def _leaks(cipher: str, there: str) -> tuple[str, ...]:
    if cipher == "none" or there != "none":
        return ()
    return ("the other repository is NOT LOCKED: who can read it there reads what is locked here",)


def _secrets_there(context: Context) -> Context:
    given = context.secrets.get("to_passphrase")
    return dataclasses.replace(context, secrets={"passphrase": given} if given else {})


def _taken_out(place: str, context: Context) -> Events:
    yield StepStarted(step="undo")
    made = context.earlier / "point.json" if context.earlier else None
    known = msgspec.json.decode(made.read_bytes())["points"] if made and made.exists() else []
    with Repository.glance(place) as target:
        pairs = [(name.path(), name.path("pruned")) for name in map(names.parse, known)]
        target.store.rename_all(pairs)
    yield StepEnded(step="undo")
    yield Finished(
        summary=f"{len(known)} points are taken out of {place}",
        then=(f"free the space: crashcart backup gc --repo {place}",),
    )


# ── one file ────────────────────────────────────────────────────────────────────────────────────────


class ExportParams(RepoParams, frozen=True, kw_only=True):
    """Which point, into which file."""

    point: Annotated[
        str,
        param("Point", "VM/DISK@TIME or VM/DISK@latest", pattern=names.POINT, allowed="VM/DISK@TIME", positional=True),
    ]
    file: Annotated[
        str, param("File", "a new file; it is a repository that holds this one point", kind="output", positional=True)
    ]


class Export(Engine[ExportParams]):
    """`crashcart backup export`."""

    name: ClassVar[str] = "backup-export"
    verb: ClassVar[str] = "export"
    title: ClassVar[str] = "one point as one file"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Copied
    params = ExportParams

    @override
    def target(self, params: ExportParams) -> str:
        return f"backup export {Path(params.file).absolute()}"

    @override
    def plan(self, params: ExportParams, cancel: Cancel) -> Plan:
        path = Path(params.file)
        if path.exists() or path.is_symlink():
            raise Refused(f"{path} exists", "name a new file")
        refuse_devices(params.file, "a file")
        if not path.parent.is_dir():
            raise Refused(f"{path.parent} does not exist", "make it first, or name another place")
        with Repository.glance(where(params)) as source:
            name = source.resolve(params.point)
            locked = source.config.cipher != "none"
            return Plan(
                task=self.name,
                target=str(path),
                params={**plain(params), "repo": source.store.where, "point": str(name)},
                steps=(*STEPS, Step(id="pack", title=f"Write {path}", no_stop="it is being written")),
                facts=(
                    ("point", str(name)),
                    ("file", str(path)),
                    ("locked by", "the key that opens the repository" if locked else "nothing"),
                ),
                changes=(BytesChange(target=str(path), summary="a new file"),),
                undo="the file is removed",
                state={"point": str(name), "repository": source.config.id},
            ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="copy")
        params: ExportParams = plan.params
        path = Path(params.file)
        source = yield from opened(params, context)
        with source, _beside(path) as folder:
            source.load()
            store = LocalStore(folder)
            made = config.create(store, cipher=source.config.cipher, unlock=source.unlock)
            target = Repository(store, made, config.unlocked(made, source.unlock), source.unlock)
            last: AnyEvent | None = None
            told = _Told(str(path), "none", "exported to", "look into it: crashcart backup list --repo")
            for event in _copied(source, target, [names.parse(params.point)], context, told):
                if isinstance(event, Finished):
                    last = event
                    continue
                yield event
            target.index.flush(always=True)
            yield StepStarted(step="pack")
            try:
                packed(folder, path)
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
        made = context.earlier / "point.json" if context.earlier else None
        if made and made.exists():
            Path(plan.params.file).unlink(missing_ok=True)
        yield StepEnded(step="pack")
        yield Finished(summary=f"{plan.params.file} is removed")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder on the same disk, gone afterwards; what a killed run left there is taken away first."""
    folder = path.with_name(f".{path.name}.export")
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
        yield from _taken_out(plan.params.repo, context)


COPIES = (Copy(), Export(), Import())
