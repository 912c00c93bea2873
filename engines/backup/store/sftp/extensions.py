"""Which of OpenSSH's extensions a server lacks, found out by trying each on files of our own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engines.backup.store.lacks import FOLDER_SYNC, LINKS
from engines.backup.store.sftp.files import SFTP_READ, SFTP_WRITE, FarFiles
from engines.backup.store.store import TEMPORARY

if TYPE_CHECKING:
    import asyncssh

Try = Callable[["asyncssh.SFTPClient"], Awaitable[object]]


def lacks(files: FarFiles) -> list[str]:
    """What is done another way there, in words; nothing is left. Raises OSError where nothing can be written."""
    name = f"{TEMPORARY}{os.urandom(8).hex()}"
    one, other, third = (files.path(f"{name}{end}") for end in ("", "-2", "-3"))
    root = files.root.encode()
    files.write(name, b"x", durable=False)
    files.write(f"{name}-3", b"y", durable=False)
    tries: tuple[tuple[Try, str], ...] = (
        (lambda client: client.link(one, other), LINKS),
        (
            lambda client: client.posix_rename(one, third),
            "renames that replace (posix-rename@openssh.com): the old file goes first",
        ),
        (
            lambda client: _synced(client, third, SFTP_WRITE),
            "fsync of files (fsync@openssh.com): the server's own haste decides",
        ),
        (lambda client: _synced(client, root, SFTP_READ), FOLDER_SYNC),
        (
            lambda client: client.statvfs(root),
            "its room (statvfs@openssh.com): a full disk is told as a failure of no kind",
        ),
    )
    try:
        return [words for try_it, words in tries if not _does(files, try_it)]
    finally:
        for end in ("", "-2", "-3"):
            with contextlib.suppress(OSError):
                files.remove(f"{name}{end}")


def _does(files: FarFiles, try_it: Try) -> bool:
    import asyncssh

    try:
        files.line.call(try_it)
    except (OSError, asyncssh.SFTPError):
        return False
    return True


async def _synced(client: asyncssh.SFTPClient, path: bytes, flags: int) -> None:
    file = await client.open(path, flags, encoding=None)
    try:
        await file.fsync()
    finally:
        await file.close()
