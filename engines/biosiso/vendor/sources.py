"""Where the bytes of a disc's file come from, read as a stream and known by their SHA-256."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, cast

import msgspec

from engines.host.files import open_file
from engines.job.errors import Failed, Refused

CHUNK = 256 * 1024  # bytes held at once
SMALL = 1024 * 1024  # bytes; the largest batch file that is converted in memory


def nothing() -> None:
    """The check of a caller that cannot be stopped."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of bytes.

    kind: `file` is `path`; `member` is `member` of the zip at `path`;
    `floppy` is `member` of the FAT image at `path`; `text` is `text` in ASCII.
    inner: the file of the zip at `path` that is itself the zip, or the FAT image, that holds `member`.
    crlf: a batch file whose LF line ends become CRLF.
    """

    kind: Literal["file", "member", "floppy", "text"]
    path: str = ""
    member: str = ""
    inner: str = ""
    text: str = ""
    crlf: bool = False

    def open(self) -> BinaryIO:
        """A stream at its beginning. Raises Failed where the source is gone."""
        stream = self._open()
        if not self.crlf:
            return stream
        with stream:
            return io.BytesIO(with_crlf(stream.read(SMALL)))

    def _open(self) -> BinaryIO:
        if self.kind == "text":
            return io.BytesIO(self.text.encode("ascii"))
        try:
            if self.kind == "file":
                return os.fdopen(open_file(Path(self.path)), "rb", buffering=0)
            if self.kind == "floppy":
                return _on_floppy(self.path, self.inner, self.member)
            return _member(self.path, self.inner, self.member)
        except unreadable() as error:
            raise Failed(f"{self.name} cannot be read: {error}", "put it back and start again") from None

    @property
    def name(self) -> str:
        """What errors call it."""
        if self.kind == "text":
            return "a generated text"
        where = f"{self.inner} in {self.path}" if self.inner else self.path
        return f"{self.member} in {where}" if self.member else where

    def digest(self, check: Callable[[], None] = nothing) -> tuple[int, str]:
        """(bytes, SHA-256 hex) of everything it gives. Raises Failed, and whatever `check` raises."""
        with self.open() as stream:
            return digest(stream, self.name, check)


def _member(path: str, inner: str, member: str) -> BinaryIO:
    import zipfile

    archive = zipfile.ZipFile(io.BytesIO(_whole(path, inner)) if inner else path)
    try:
        opened = archive.open(member)
    finally:
        archive.close()  # the open member keeps its own hold on the file
    return cast(BinaryIO, opened)


def unreadable() -> tuple[type[Exception], ...]:
    """What reading a damaged file, zip or disk raises."""
    import zipfile
    import zlib

    return (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _whole(path: str, inner: str) -> bytes:
    """A file, or one of the zip that it is, in memory."""
    if not inner:
        with os.fdopen(open_file(Path(path)), "rb") as whole:
            return whole.read()
    with _member(path, "", inner) as stream:
        return stream.read()


def _on_floppy(path: str, inner: str, member: str) -> BinaryIO:
    from engines.biosiso.vendor import fat

    try:
        volume = fat.volume(_whole(path, inner))
        return io.BytesIO(volume.read(next(file for file in volume.files() if file.path == member)))
    except (fat.NoFat, StopIteration) as error:
        raise KeyError(f"{member} ({error})") from None


def digest(stream: BinaryIO, name: str, check: Callable[[], None] = nothing) -> tuple[int, str]:
    """(bytes, SHA-256 hex) of a stream from where it stands. Raises Failed, and whatever `check` raises."""
    found, size = hashlib.sha256(), 0
    try:
        buffer = memoryview(bytearray(CHUNK))
        while read := stream.readinto(buffer):  # type: ignore[attr-defined]  # every stream here is an io one
            check()
            found.update(buffer[:read])
            size += read
    except unreadable() as error:
        raise Failed(f"{name} cannot be read: {error}", "fetch it again from where it came") from None
    return size, found.hexdigest()


def with_crlf(content: bytes) -> bytes:
    """Every line end as CRLF; other bytes stay as they are."""
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def is_lf_only(content: bytes) -> bool:
    """Whether some line of a text ends in LF alone, which makes FreeCOM loop for ever."""
    return content.replace(b"\r\n", b"").count(b"\n") > 0


def walk(folder: Path, limit: int) -> list[tuple[str, Path]]:
    """(relative name, path) of every file under a folder, sorted. Raises Refused on links and special files."""
    found: list[tuple[str, Path]] = []
    for top, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in sorted(names) + [name for name in folders if (Path(top) / name).is_symlink()]:
            path = Path(top) / name
            if not name.isprintable():
                raise Refused(f"{top} holds the name {name!a}", "rename it: control characters cannot be shown")
            if path.is_symlink() or not path.is_file():
                raise Refused(f"{path} is no plain file", "replace it by the file itself")
            found.append((path.relative_to(folder).as_posix(), path))
            if len(found) > limit:
                raise Refused(
                    f"{folder} holds more than {limit} files", "name the folder with only what belongs on the disc"
                )
    return found


def _unreadable(error: OSError) -> None:
    raise Refused(f"{error.filename}: {error.strerror}", "make it readable")
