"""Puts a finished disc where it belongs by rename, keeps what was there, and takes it back bit for bit."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from engines.job.errors import Failed, Refused

RECORD = "placed.json"
RESERVED = 4096  # bytes of the record, written with blanks beforehand: a full state disk must not stop the last step
UNTOUCHED = "nothing was touched; move it away by hand if it is not wanted"
LONGEST_NAME = 120  # bytes of an output's file name: ours, beside it, are longer, and 255 is the limit


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """What a run put in place: the disc's SHA-256 and identity, and where the file before it is kept, if any."""

    output: str
    sha256: str
    identity: str
    was: str = ""
    before: str = ""


def partial(output: Path, run: str) -> Path:
    """Where the disc grows: beside the output, so that a rename puts it in place."""
    return output.with_name(f".{output.name}.crashcart-{run}.partial")


def kept(output: Path, run: str) -> Path:
    """Where the file that was at the output is kept for undo."""
    return output.with_name(f".{output.name}.crashcart-{run}.before")


def identity(path: Path) -> str:
    """A file as it is now: dev:inode:size:mtime; empty where there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"


def sweep(output: Path) -> list[str]:
    """Remove half-written discs of runs that are no more. The caller holds the output's lock: none is alive."""
    swept = []
    for leftover in sorted(output.parent.glob(f".{_literal(output.name)}.crashcart-*.partial*")):
        leftover.unlink(missing_ok=True)
        swept.append(leftover.name)
    return swept


def _literal(name: str) -> str:
    import glob

    return glob.escape(name)


def put(output: Path, run: str, folder: Path, sha256: str, was: str) -> Placed:
    """Rename the disc into place; `was` is the identity of what is there. Raises Failed, nothing changed."""
    disc = partial(output, run)
    before = str(kept(output, run)) if was else ""
    if identity(output) != was:
        raise Failed(f"{output} changed while the disc was made", "look what it is now, and start again")
    placed = Placed(output=str(output), sha256=sha256, identity=identity(disc), was=was, before=before)
    record(folder, placed)
    try:
        if before:
            _keep(output, Path(before))
        disc.replace(output)
    except OSError as error:
        Path(before).unlink(missing_ok=True) if before else None
        raise Failed(
            f"{output} cannot be replaced: {error.strerror}", "nothing was changed; name another output"
        ) from None
    sync_folder(output.parent)
    return placed


def _keep(output: Path, before: Path) -> None:
    """A second name for the file that is there; a copy where the file system has no second names."""
    before.unlink(missing_ok=True)
    try:
        os.link(output, before)
    except OSError:
        _copy(output, before)
    sync_folder(output.parent)


def _copy(output: Path, before: Path) -> None:
    import shutil

    try:
        shutil.copy2(output, before)
        with before.open("rb") as stream:
            os.fsync(stream.fileno())
    except OSError as error:
        before.unlink(missing_ok=True)
        raise Failed(
            f"the old {output.name} cannot be kept: {error.strerror}", "make room there, or name another output"
        ) from None


def sync_folder(folder: Path) -> None:
    """A rename is on disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(folder: Path) -> None:
    """Make room for the record. Raises Refused."""
    try:
        _overwrite(folder / RECORD, b"")
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}", "make room there, or set XDG_STATE_HOME") from None


def record(folder: Path, placed: Placed) -> None:
    """Say on disk what is about to be put in place, in the room that `reserve` made."""
    _overwrite(folder / RECORD, msgspec.json.encode(placed))


def _overwrite(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, content.ljust(RESERVED), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def recorded(folder: Path | None) -> Placed | None:
    """What the run of that folder was about to put in place, or did; None where it never got there."""
    if folder is None:
        return None
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Placed)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def is_in_place(placed: Placed) -> bool:
    """Whether the disc stands at the output, untouched since."""
    return identity(Path(placed.output)) == placed.identity


def take_back(placed: Placed) -> str:
    """Put back what was there before, or nothing; says what was done. Raises Refused where the output is not ours."""
    output, before = Path(placed.output), Path(placed.before) if placed.before else None
    if not is_in_place(placed):
        return _not_ours(placed)
    if sha256_of(output) != placed.sha256:
        raise Refused(f"{output} was changed since", UNTOUCHED)
    if before is None:
        output.unlink()
        sync_folder(output.parent)
        return f"{output} is gone, as before"
    if not before.exists():
        raise Refused(
            f"{before}, the file that was there before, is gone", "nothing was touched; restore it from elsewhere"
        )
    before.replace(output)
    sync_folder(output.parent)
    return f"{output} is back, bit for bit"


def _not_ours(placed: Placed) -> str:
    if identity(Path(placed.output)) != placed.was:
        raise Refused(f"{placed.output} is no longer the disc of that run", UNTOUCHED)
    if placed.before:
        Path(placed.before).unlink(missing_ok=True)
    return f"{placed.output} is as it was: that run had not replaced it"


def sha256_of(path: Path) -> str:
    """SHA-256 hex of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state(output: Path) -> dict[str, Any]:
    """What the plan's digest holds of the output."""
    return {"output": str(output), "is": identity(output)}
