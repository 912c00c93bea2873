"""libguestfs calls whose names and answers are raw bytes; loaded by the worker only, within Debian's own Python.

The Python binding takes and gives UTF-8 text and fails on a folder with one name that is none; its handle wraps the C
library's, which is called here directly (guestfs(3)). On the line to the parent bytes travel as Latin-1 text.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any

Row = list[Any]  # see Bytewise.nodes
TAR_OPTIONS = (1, 1, 3, 1, 4, 1, 5, 1, -1)  # numericowner, xattrs, selinux, acls; guestfs.h's numbers, each set


class Stat(Structure):
    """struct guestfs_statns."""

    _fields_ = tuple(
        (name, c_int64)
        for name in (
            *("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks"),
            *("atime", "atime_ns", "mtime", "mtime_ns", "ctime", "ctime_ns"),
            *("spare1", "spare2", "spare3", "spare4", "spare5", "spare6"),
        )
    )


class Stats(Structure):
    """struct guestfs_statns_list."""

    _fields_ = (("len", c_uint32), ("val", POINTER(Stat)))


class Dirent(Structure):
    """struct guestfs_dirent."""

    _fields_ = (("ino", c_int64), ("ftyp", c_char), ("name", c_char_p))


class Dirents(Structure):
    """struct guestfs_dirent_list."""

    _fields_ = (("len", c_uint32), ("val", POINTER(Dirent)))


class Xattr(Structure):
    """struct guestfs_xattr."""

    _fields_ = (("name", c_char_p), ("len", c_uint32), ("val", POINTER(c_char)))


class Xattrs(Structure):
    """struct guestfs_xattr_list."""

    _fields_ = (("len", c_uint32), ("val", POINTER(Xattr)))


class Bytewise:
    """Calls on one handle. Raises OSError with the guest's errno, 0 where libguestfs itself declined."""

    def __init__(self, handle: Any) -> None:
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = c_void_p, [ctypes.py_object, c_char_p]
        self._handle = c_void_p(pointer(handle._o, b"guestfs_h"))
        self._library = ctypes.CDLL("libguestfs.so.0")
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [c_void_p]

    def _call(self, name: str, gives: Any, *arguments: Any) -> Any:
        """A call that gives a pointer, NULL for an error."""
        function = getattr(self._library, f"guestfs_{name}")
        function.restype = gives
        found = function(self._handle, *arguments)
        if not found:
            self._fail()
        return found

    def _fail(self) -> None:
        said = self._library.guestfs_last_error
        said.restype = c_char_p
        number = int(self._library.guestfs_last_errno(self._handle))
        raise OSError(number, (said(self._handle) or b"no reason given").decode("utf-8", "replace"))

    def _release(self, name: str, found: Any) -> None:
        getattr(self._library, f"guestfs_free_{name}")(found)

    def names(self, folder: bytes) -> list[bytes]:
        """A folder's entries in the file system's order."""
        found = self._call("readdir", POINTER(Dirents), folder)
        try:
            every = (found.contents.val[number].name for number in range(found.contents.len))
            return [name for name in every if name not in (b".", b"..")]
        finally:
            self._release("dirent_list", found)

    def node(self, path: bytes) -> Row:
        """What is at `path`, a link itself; see `nodes`, the name left empty."""
        found = self._call("lstatns", POINTER(Stat), path)
        try:
            row = _row(b"", found.contents)
        finally:
            self._release("statns", found)
        if stat.S_ISLNK(row[2]):
            row[-1] = self._link(path)
        return row

    def nodes(self, folder: bytes, names: list[bytes]) -> list[Row]:
        """[name, inode, mode, size, uid, gid, links, mtime, atime, ctime (ns), allocated, rdev, dev, target] of each
        entry that is still there.
        """
        found = self._call("lstatnslist", POINTER(Stats), folder, _texts(names))
        try:
            every = zip(names, range(found.contents.len), strict=True)
            rows = [_row(name, found.contents.val[number]) for name, number in every]
        finally:
            self._release("statns_list", found)
        for row in rows:
            if stat.S_ISLNK(row[2]):
                row[-1] = None
        self._read_links(folder, rows)
        return [row for row in rows if row[1] != -1]

    def _read_links(self, folder: bytes, rows: list[Row]) -> None:
        """All of them in one call; one by one where their targets are more than a message holds."""
        links = [row for row in rows if row[-1] is None]
        if not links:
            return
        targets = [b""] * len(links)
        if len(links) > 1:
            found = self._call("readlinklist", POINTER(c_char_p), folder, _texts([row[0] for row in links]))
            targets = [found[number] or b"" for number in range(len(links))]
            for number in range(len(links)):
                self._free(ctypes.cast(found, POINTER(c_void_p))[number])
            self._free(found)
        for row, target in zip(links, targets, strict=True):
            row[-1] = target or self._link(folder.rstrip(b"/") + b"/" + row[0])

    def _link(self, path: bytes) -> bytes:
        found = self._call("readlink", c_void_p, path)
        try:
            return ctypes.cast(found, c_char_p).value or b""
        finally:
            self._free(found)

    def read(self, path: bytes, length: int, offset: int, into: bytes) -> int:
        """Put at most 4 MiB less a little of a file at the beginning of the file `into` on this side; how many."""
        size = c_size_t()
        found = self._call("pread", c_void_p, path, c_int(length), c_int64(offset), byref(size))
        try:
            descriptor = os.open(into, os.O_WRONLY | os.O_CLOEXEC)
            try:
                return os.pwrite(descriptor, (c_char * size.value).from_address(found), 0)
            finally:
                os.close(descriptor)
        finally:
            self._free(found)

    def attributes(self, path: bytes) -> dict[bytes, bytes]:
        """Extended attributes of `path`, a link's own."""
        found = self._call("lgetxattrs", POINTER(Xattrs), path)
        try:
            every = (found.contents.val[number] for number in range(found.contents.len))
            return {each.name: ctypes.string_at(each.val, each.len) for each in every}
        finally:
            self._release("xattr_list", found)

    def shell(self, script: bytes) -> bytes:
        """What a script prints in the appliance, whose guest lies below /sysroot."""
        found = self._call("debug", c_void_p, b"sh", _texts([script]))
        try:
            return ctypes.cast(found, c_char_p).value or b""
        finally:
            self._free(found)

    def archive(self, folder: bytes, path: bytes) -> None:
        """Write a tar of what is below `folder` to a file or pipe on this side."""
        options = [c_int(each) for each in TAR_OPTIONS]
        if self._library.guestfs_tar_out_opts(self._handle, folder, path, *options) == -1:
            self._fail()


def _texts(names: list[bytes]) -> Any:
    return (c_char_p * (len(names) + 1))(*names, None)


def _row(name: bytes, found: Stat) -> Row:
    times = [getattr(found, at) * 10**9 + getattr(found, f"{at}_ns") for at in ("mtime", "atime", "ctime")]
    plain = [found.ino, found.mode, found.size, found.uid, found.gid, found.nlink]
    return [name, *plain, *times, found.blocks * 512, found.rdev, found.dev, b""]


def answer(calls: Bytewise, request: dict[str, Any]) -> dict[str, Any]:
    """The worker's answer to {"bytewise": name, "args": [...]}."""
    try:
        return {"ok": _sent(getattr(calls, request["bytewise"])(*[_taken(each) for each in request["args"]]))}
    except OSError as error:
        return {"error": error.strerror, "errno": error.errno}
    except (ctypes.ArgumentError, ValueError) as error:
        return {"error": str(error), "errno": errno.EINVAL}


def _taken(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("latin-1")
    return [_taken(each) for each in value] if isinstance(value, list) else value


def _sent(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {_sent(name): _sent(each) for name, each in value.items()}
    return [_sent(each) for each in value] if isinstance(value, list) else value
