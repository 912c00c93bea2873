"""backup mount: a point as a folder to look around in, read-only, until it is unmounted."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from typing_extensions import override

from engines.backup import results
from engines.backup.commands.on_repository import OnRepository
from engines.backup.files.mounting import mounts
from engines.backup.files.mounting.folder import Folder
from engines.backup.files.mounting.mount_server import MountRequest, Said
from engines.backup.files.mounting.mounts import Mount
from engines.backup.files.opening import WhichDriver
from engines.backup.new_place import refuse_place
from engines.backup.repository.repository import WHICH_POINT, NamesOnly, RepoParams
from engines.backup.repository.unlocking import passphrase_of
from engines.host.child import module, start
from engines.host.holder import Holder, boot_id, start_time
from engines.job import units
from engines.job.contract import (
    Cancel,
    Context,
    Events,
    Finished,
    Log,
    Measured,
    Plan,
    Step,
    StepEnded,
    StepStarted,
    Warned,
)
from engines.job.errors import Failed, Refused, Stopped
from engines.job.lock import content_identity
from engines.job.params import Secret, param

TICK = 0.5  # s; how soon a stop is noticed
PATIENCE = 20.0  # s for a server that was asked to end
FUSE = Path("/dev/fuse")


class MountParams(RepoParams, frozen=True, kw_only=True):
    """What is shown where."""

    point: Annotated[str, WHICH_POINT]
    folder: Annotated[str, param("Folder", "an empty folder, where the files appear", kind="folder", positional=True)]
    image: Annotated[bool, param("Image", "show the disk itself as one file, not the files on it")] = False
    driver: WhichDriver = "auto"


class MountPoint(OnRepository[MountParams]):
    """`crashcart backup mount`."""

    name: ClassVar[str] = "backup-mount"
    verb: ClassVar[str] = "mount"
    title: ClassVar[str] = "show a point's files in a folder, read-only, until it is stopped or unmounted"
    kind: ClassVar[str] = "work"
    serves: ClassVar[str] = "serve"  # --detach returns once the mount is there
    result: ClassVar[type[results.Result]] = results.Unmounted
    params = MountParams

    @override
    def target(self, params: MountParams) -> str:
        try:
            return content_identity(Path(params.folder))
        except Refused:
            if not mounts.ended(params.folder):
                raise
            return content_identity(Path(params.folder))

    @override
    def plan_on(self, glance: NamesOnly, params: MountParams, cancel: Cancel) -> Plan:
        name = glance.resolve(params.point)
        folder = Path(params.folder).resolve()
        found = _possible(folder, glance.store.where)
        return Plan(
            task=self.name,
            target=str(folder),
            params={"point": str(name), "folder": str(folder)},
            steps=(
                Step(id="open", title=f"Open {name}"),
                Step(id="serve", title=f"Show {'its disk' if params.image else 'its files'} in {folder}"),
            ),
            facts=(
                ("point", str(name)),
                ("folder", str(folder)),
                ("who can look", "only the user who mounts"),
                ("repository", glance.store.where),
            ),
            warnings=() if params.image else (LINKS,),
            undo="it is unmounted; nothing is changed by it",
            state={"point": str(name), "folder": found.identity},
        )

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="open")
        passphrase = yield from passphrase_of(plan.params, context)
        server = Server(plan, context, passphrase)
        try:
            yield from _served(server, plan, context.cancel)
        finally:
            server.end()

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        mounts.sweep()
        _possible(Path(plan.target), plan.params.repo)
        yield from self.execute(plan, context)

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="undo")
        swept = mounts.sweep()
        yield StepEnded(step="undo")
        was = "is unmounted" if plan.target in swept else "was not mounted any more"
        yield Finished(summary=f"{plan.target} {was}")


LINKS = "links that lead to /… lead to this machine's own files, as in any mount: look where a link goes"


def _possible(folder: Path, repo: str) -> Folder:
    """Raises Refused."""
    refuse_place(str(folder), "a mount")
    if not FUSE.exists():
        raise Refused(f"{FUSE} is not there", "modprobe fuse, or get the files out: crashcart backup get")
    if not os.access(FUSE, os.R_OK | os.W_OK):
        raise Refused(f"{FUSE} may not be opened by this user", "run as root")
    if "://" not in repo and folder.is_relative_to(Path(repo).resolve()):
        raise Refused(f"{folder} lies in the repository", "name a folder elsewhere")
    return Folder.empty(folder)


class Server:
    """The process that serves; ended with this object."""

    def __init__(self, plan: Plan, context: Context, passphrase: Secret | None) -> None:
        params = plan.params
        self._token = f"crashcart:{context.folder.name}.{secrets.token_hex(4)}"  # runs of two homes may share a name
        self._lines = b""
        wanted = MountRequest(
            repo=params.repo,
            point=params.point,
            folder=plan.target,
            identity=plan.state["folder"],
            token=self._token,
            parent=os.getpid(),
            image=params.image,
            driver=params.driver,
            key_file=params.key_file,
            passphrase=passphrase.reveal() if passphrase else "",
        )
        self.log = context.folder / "server.log"
        self._log = self.log.open("wb")
        server = module("engines.backup.files.mounting.mount_server")
        self.process = start(server, stdout=subprocess.PIPE, stderr=self._log)
        self.mount = Mount(
            folder=plan.target,
            token=self._token,
            server=Holder(self.process.pid, start_time(self.process.pid), boot_id(), context.folder.name),
        )
        self._record = mounts.remember(self.mount)
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it ended already; its last line says why
            self.process.stdin.write(msgspec.json.encode(wanted))
            self.process.stdin.close()

    def said(self) -> Iterator[Said | None]:
        """What it says, or None after a moment of silence; ends when it does."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while True:
            ready, _, _ = select.select([descriptor], [], [], TICK)
            if not ready:
                yield None
                continue
            part = os.read(descriptor, 65536)
            if not part:
                self.process.wait()
                return
            *whole, self._lines = (self._lines + part).split(b"\n")
            for line in whole:
                yield msgspec.json.decode(line, type=Said)

    def is_there(self) -> None:
        """Raise Failed where the mount is not in the plan's folder: whoever owns one above moved it meanwhile."""
        found = [*mounts.places(self._token).values()]
        if found != [self.mount.folder]:
            raise Failed(
                f"{self.mount.folder} was moved while it was mounted on (now: {', '.join(found) or 'nowhere'})",
                "it is unmounted; see who did that, or name a folder below one of your own",
            )

    def end(self) -> None:
        """Have it unmount and end; by force where it does not, for then the mount would outlive its server."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        mounts.unmount(self._token)
        if not mounts.is_mounted(self.mount):
            self._record.unlink(missing_ok=True)
        for stream in (self.process.stdout, self._log):
            if stream:
                stream.close()


def _served(server: Server, plan: Plan, cancel: Cancel) -> Events:
    """Until it is unmounted or stopped, either of which is its natural end."""
    told = Said()
    shown = False
    try:
        for said in server.said():
            cancel.check()
            if said is None:
                continue
            if said.failed:
                raise Failed(said.failed, f"nothing is mounted; see {server.log}")
            if said.ready:
                server.is_there()
                shown = True
                yield StepEnded(step="open")
                yield StepStarted(step="serve")
                yield Log(text=f"{plan.params.point} is shown in {plan.target}; end it with Ctrl-C or umount")
            else:
                before, told = told, said  # before anything is told, where the run may be stopped
                if said.errors > before.errors:
                    yield Warned(text=f"a read failed: {said.last_error}")
                yield Measured(kind="mount", data={"reads": said.reads, "bytes": said.bytes, "errors": said.errors})
    except Stopped:
        if not shown:
            raise
        yield from _heard()
    if not shown or server.process.poll() not in (None, 0):
        raise Failed(f"the server of {plan.target} ended early", f"see {server.log}; start it again")
    server.end()
    yield StepEnded(step="serve")
    result: dict[str, Any] = {"reads": told.reads, "bytes": told.bytes, "errors": told.errors}
    yield Finished(summary=f"{plan.target} is unmounted: {told.reads} reads, {units.size(told.bytes)}", result=result)


def _heard() -> Events:
    """Take the stop that the driver throws into a run that noticed it by itself."""
    try:
        yield Log(text="unmounting")
    except Stopped:
        return
