"""The last step of an operation whose result goes into a new image: written beside, whole or not at all.

The original is only read. The new file takes its name once all of it is on disk; a kill before leaves a hidden part,
which the next attempt, or an undo, removes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from engines.guest.committing import Work
from engines.guest.surgery import Surgery
from engines.guest.takeback import Executes
from engines.guest.target import Target
from engines.host.files import sync_folder, write_whole
from engines.host.image import opened
from engines.host.naming import name_new
from engines.host.qemu_img import WORKS_WITHIN, QemuImgFailed, qemu_img
from engines.job.contract import Context, Events, Finished, Log, Plan, Step, StepEnded, StepStarted
from engines.job.errors import Failed, Refused
from engines.job.lock import hold, name_identity
from engines.job.runs import Run, find

COPY = Step(id="copy", title="Write the new image")
RECORD = "copied.json"
RAW = (".img", ".raw")
SPARE = 64 << 20  # bytes that stay free


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What a run made. inode, size, mtime_ns: of the new image before anybody used it."""

    path: str
    inode: int
    size: int
    mtime_ns: int

    def untouched(self) -> bool:
        """Whether the new image is there, and as it was made."""
        try:
            found = Path(self.path).stat()
        except OSError:
            return False
        return (found.st_ino, found.st_size, found.st_mtime_ns) == (self.inode, self.size, self.mtime_ns)


def place(target: Target, wanted: str) -> Path:
    """Where the new image goes: `wanted`, or the image's name with .qcow2 beside it. Raises Refused."""
    path = Path(wanted).resolve() if wanted else target.path.with_suffix(".qcow2")
    if os.path.lexists(path):
        raise Refused(f"{path} exists, and the new image is to go there", "name a new file: --into NEW.qcow2")
    if not path.parent.is_dir():
        raise Refused(f"{path.parent} is no folder", "name a new file in a folder that exists: --into NEW.qcow2")
    return path


def form(path: Path) -> Literal["raw", "qcow2"]:
    """The format of a new image by its name: raw for .img and .raw, else qcow2."""
    return "raw" if path.suffix.lower() in RAW else "qcow2"


def refuse_without_room(target: Target, path: Path) -> None:
    """Refuse a folder that has no room for the whole copy."""
    asked = ("measure", "--output=json", "-O", form(path))
    try:
        named = [opened([(target.path, "qcow2"), *target.below])] if target.format == "qcow2" else []
        named = named or ["-f", target.driver, str(target.path)]
        needed = int(json.loads(qemu_img(*asked, *named))["required"]) + SPARE
    except QemuImgFailed:
        needed = target.disk + SPARE  # a format that cannot be measured: as if it were full
    found = os.statvfs(path.parent)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise Refused(
            f"{path.parent} has {free >> 20} MiB free, and the new image takes up to {needed >> 20}",
            "make room there, or name another place: --into NEW.qcow2",
        )


def copy(surgery: Surgery, context: Context, path: Path, result: dict[str, Any]) -> Work:
    """Write the result into the new image at `path`. Raises Failed, with nothing left of it."""
    yield Log(text=f"qemu-img convert: {surgery.target.path} ({surgery.target.format}) as changed, into {path}")
    with hold(name_identity(path), context.folder.name):  # the run's own lock is that of the image
        try:
            with _growing(path) as (part, descriptor):
                command = ("convert", "-f", "qcow2", "-O", form(path), str(surgery.outcome), str(part))
                qemu_img(*command, within=WORKS_WITHIN, check=context.cancel.check)
                _with_rights_of(surgery.target.path, descriptor)
                _named(part, descriptor, path, context.folder)
        except (QemuImgFailed, OSError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise Failed(
                f"{path} cannot be written: {said}", "the original is untouched; make room and try again"
            ) from None
    result["new_image"] = str(path)
    yield Log(text=f"{path} is whole: {path.stat().st_size} bytes, {form(path)}")


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.crashcart-part")


@contextmanager
def _growing(path: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside `path`, and its descriptor; gone afterwards, where it got no name.

    It stays ours alone until it is whole: qemu-img opens it by its name, which the kernel refuses even root for
    another's file in a folder for all (fs.protected_regular), and others of a file that none may write.
    """
    part = _part(path)
    part.unlink(missing_ok=True)  # of a run that was killed: the name is locked
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(part, flags, 0o600)
    try:
        yield part, descriptor
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)


def _with_rights_of(original: Path, descriptor: int) -> None:
    """An image that only its owner reads is not copied for all to read."""
    found = original.stat()
    if stat.S_ISREG(found.st_mode):
        with suppress(OSError):  # only root may give a file away
            os.fchown(descriptor, found.st_uid, found.st_gid)
        with suppress(OSError):  # FAT and its like keep no rights; where it is refused, it stays ours alone
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode))


def _named(part: Path, descriptor: int, path: Path, folder: Path) -> None:
    """A name that somebody has taken meanwhile stays theirs."""
    os.fsync(descriptor)
    found = os.fstat(descriptor)
    made = Copied(path=str(path), inode=found.st_ino, size=found.st_size, mtime_ns=found.st_mtime_ns)
    write_whole(folder / RECORD, msgspec.json.encode(made))
    name_new(part, path)
    sync_folder(path.parent)


def made(folder: Path) -> tuple[Run, Copied | None]:
    """(the run, what it made) behind a run that may itself resume or undo another."""
    run = Run(folder)
    while True:
        if (run.folder / RECORD).exists():
            return run, msgspec.json.decode((run.folder / RECORD).read_bytes(), type=Copied)
        info = run.info()
        if not info.earlier:
            return run, None
        run = find(info.earlier)


def resume(engine: Executes, plan: Plan, context: Context) -> Events:
    """Nothing but the report is left where the new image had its name; before that it is done anew."""
    assert context.earlier is not None
    run, found = made(context.earlier)
    if found is None or not found.untouched():
        return engine.execute(plan, context)
    return _whole(run, found)


def _whole(run: Run, found: Copied) -> Events:
    yield StepStarted(step=COPY.id)
    yield Log(text=f"{found.path} had been written whole")
    yield StepEnded(step=COPY.id)
    yield Finished(summary=f"{found.path} is whole", then=(f"Take it back: crashcart undo {run.id}",))


def undo(context: Context, path: Path) -> Events:
    """Remove the new image, where nobody has used it yet."""
    assert context.earlier is not None
    run, found = made(context.earlier)
    yield StepStarted(step="undo")
    _part(path).unlink(missing_ok=True)
    if found is None or not os.path.lexists(found.path):
        yield Log(text="there is no new image")
    elif not found.untouched():
        raise Refused(
            f"{found.path} has been used since: it is not as run {run.id} made it",
            "the original is as it was; remove the new image yourself if nobody needs it",
        )
    else:
        Path(found.path).unlink()
        sync_folder(Path(found.path).parent)
        yield Log(text=f"removed {found.path}")
    yield StepEnded(step="undo")
    yield Finished(summary=f"the new image of run {run.id} is gone; the original was never written")
