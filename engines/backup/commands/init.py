"""backup init: a new repository, open or locked."""

from __future__ import annotations

import contextlib
import shlex
from contextlib import closing
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import structs
from typing_extensions import override

from engines.backup import results
from engines.backup.commands.new_prefix import refuse_within
from engines.backup.errors import FarFailed
from engines.backup.new_place import refuse_place
from engines.backup.repository import config, lock_setting
from engines.backup.repository.keys import Unlock, demand_one
from engines.backup.repository.lock_setting import LockSetting
from engines.backup.store.opening import exact, open_store
from engines.backup.store.s3 import writer
from engines.backup.store.s3.store import S3Store
from engines.backup.store.store import Store
from engines.job.contract import (
    Asked,
    BytesChange,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Plan,
    Section,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import BadParam, Failed, Refused
from engines.job.lock import name_identity
from engines.job.params import Params, Secret, param, plain

FOLDERS = ("packs", "index", "points", "pruned", "positions", "sessions", "condemned", "quarantine", "verified")


class InitParams(Params, frozen=True, kw_only=True):
    """A new repository."""

    repo: Annotated[
        str, param("Repository", "an empty or new folder that will hold backups", kind="output", positional=True)
    ]
    cipher: Annotated[
        Literal["none", "aes-256-gcm", "chacha20-poly1305"],
        param("Encryption", "none where the folder itself is safe; chacha20 where the CPU has no AES"),
    ] = "none"
    key_file: Annotated[str, param("Key file", "32 random bytes or more; keep a copy elsewhere", kind="file")] = ""
    passphrase: Annotated[Secret | None, param("Passphrase", "opens the repository; nobody can without it")] = None

    lock: Annotated[
        str,
        param(
            "Lock",
            "in a bucket with Object Lock: what points need stays for so long",
            pattern=r"^$|^[1-9]\d{0,3}d$",
            allowed="days like 30d",
        ),
    ] = ""
    lock_mode: Annotated[
        lock_setting.Mode, param("Lock mode", "GOVERNANCE can be lifted by who has that right; COMPLIANCE by nobody")
    ] = "GOVERNANCE"

    @override
    def asks(self) -> tuple[str, ...]:
        given = self.key_file or self.passphrase is not None
        return () if self.cipher == "none" or given else ("passphrase",)


class Init(Engine[InitParams]):
    """`crashcart backup init`."""

    name: ClassVar[str] = "backup-init"
    verb: ClassVar[str] = "init"
    title: ClassVar[str] = "make a backup repository"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[results.Result]] = results.Made
    params = InitParams

    @override
    def target(self, params: InitParams) -> str:
        return exact(params.repo) if "://" in params.repo else name_identity(Path(params.repo))

    @override
    def plan(self, params: InitParams, cancel: Cancel) -> Plan:
        params = structs.replace(params, repo=exact(params.repo))
        refuse_place(params.repo, "a repository", itself=False)
        refuse_within(params.repo)
        with closing(open_store(params.repo)) as store:
            if any(True for folder in (*FOLDERS, "") for _ in store.names(folder or ".")):
                raise Refused(f"{params.repo} is not empty", "name a new folder; a repository is only made once")
            if params.cipher == "none" and (params.key_file or params.passphrase):
                raise BadParam(
                    "cipher", "none", "aes-256-gcm or chacha20-poly1305 with a key", "give --cipher aes-256-gcm"
                )
            demand_one("key_file", params.key_file, params.passphrase)
            if "://" not in params.repo and not Path(params.repo).parent.is_dir():
                raise Refused(f"{Path(params.repo).parent} does not exist", "make it first, or name another place")
            if params.lock:
                from engines.backup.store.s3.versions import ObjectVersions  # brings boto3

                ObjectVersions(params.repo, lock=True).demand_locks()
            locked = "nothing" if params.cipher == "none" else f"{params.cipher}, {_lock(params)}"
            return Plan(
                task=self.name,
                target=params.repo,
                params=plain(params),
                steps=(Step(id="make", title="Make the folders and write config.json", no_stop="it takes a moment"),),
                changes=(BytesChange(target=params.repo, summary="a new, empty repository"),),
                facts=(("format", str(config.FORMAT)), ("block", "1 MiB"), ("locked by", locked), *_lasts(params)),
                confirm="COMPLIANCE" if params.lock and params.lock_mode == "COMPLIANCE" else "",
                undo="config.json and the empty folders are removed, as long as no backup is in it",
                state={"empty": True},
            ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        with closing(open_store(plan.params.repo)) as store:
            unlock = Unlock()
            if plan.params.cipher != "none":
                passphrase = context.secrets.get("passphrase")
                if not plan.params.key_file and passphrase is None:
                    passphrase = Secret((yield Asked(question="passphrase of the new repository", secret=True)) or "")
                unlock = Unlock(plan.params.key_file, passphrase)
            yield StepStarted(step="make")  # it cannot be stopped; waiting for an answer can
            try:
                store.begin(FOLDERS)
                made = config.create(store, cipher=plan.params.cipher, unlock=unlock)
                if plan.params.lock:
                    days = int(plan.params.lock.removesuffix("d"))
                    lock_setting.put(store, LockSetting(days=days, mode=plan.params.lock_mode))
            except FileExistsError:
                raise Refused(f"{store.where} was made meanwhile", "see it: crashcart backup list") from None
            except FarFailed:
                raise
            except OSError as error:
                raise Failed(f"{store.where}: {error.strerror}", "name a folder that can be written") from None
            yield StepEnded(step="make")
            for words in _lacks(store):
                yield Log(text=f"{store.where} has no {words}")
            policy = ""
            if isinstance(store, S3Store):
                warnings, policy = writer.advice(store.where, store.bucket)
                for text in (*warnings, *policy.splitlines()):
                    yield Log(text=text)
            yield Finished(
                summary=f"repository {store.where} is ready",
                result={"repo": store.where, "id": made.id, "cipher": made.cipher},
                sections=(Section(title="A policy for the key that backs up", text=policy),) if policy else (),
                then=_then(plan),
            )

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        try:
            with closing(open_store(plan.params.repo)) as store:
                made = config.load(store)
        except Refused:
            yield from self.execute(plan, context)
            return
        yield StepStarted(step="make")
        yield StepEnded(step="make")
        yield Finished(summary=f"repository {plan.params.repo} is ready", result={"id": made.id}, then=_then(plan))

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        with closing(open_store(plan.params.repo)) as store:
            yield StepStarted(step="make")
            if any(name != config.COPY for folder in FOLDERS for name in store.names(folder)):
                raise Refused(f"{store.where} holds backups", "prune them first, or remove the folder yourself")
            for name in (lock_setting.NAME, config.COPY, config.NAME):
                with contextlib.suppress(FileNotFoundError):
                    store.delete(name)
            store.end(FOLDERS)
            yield StepEnded(step="make")
            yield Finished(summary=f"{store.where} is no repository any more")


def _lacks(store: Store) -> list[str]:
    """What is done another way there; nothing where it cannot be tried, for the repository is made."""
    with contextlib.suppress(OSError):
        return store.lacks()
    return []


def _lock(params: InitParams) -> str:
    return f"key file {params.key_file}" if params.key_file else "a passphrase"


def _lasts(params: InitParams) -> tuple[tuple[str, str], ...]:
    """What the review says of the lock."""
    if not params.lock:
        return ()
    until = (
        "nobody, not even the provider, can lift it" if params.lock_mode == "COMPLIANCE" else "by its own right only"
    )
    return (
        ("points are kept undeletable for", f"{params.lock} ({params.lock_mode}: {until}), renewed by backup lock"),
    )


def _then(plan: Plan) -> tuple[str, ...]:
    keep: tuple[str, ...] = ()
    if plan.params.key_file:
        keep = (f"keep a copy of {plan.params.key_file} elsewhere: without it nothing can be restored",)
    place = plan.params.repo
    keep = (
        f"keep {place}/{config.NAME} elsewhere too, printed or in a safe (it is one page): if it and its copy in packs"
        " are lost, nothing can be restored" + ("; who has it can read the backups" if not keep else ""),
        *keep,
    )
    if plan.params.lock:
        keep = (*keep, f"every night, with the key that locks: crashcart backup lock {shlex.quote(place)}")
    return (*keep, f"back up: crashcart backup run SOURCE --repo {shlex.quote(plan.params.repo)} --vm NAME")
