"""A pack that goes straight to its final name: an upload in parts that is seen whole or never."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from typing_extensions import override

from engines.backup.store.s3.bucket import ASIDE, Bucket
from engines.backup.store.s3.upload import Upload
from engines.backup.store.store import TEMPORARY, Appender, Bytes


class S3Appender(Appender):
    """See Appender. What is abandoned is never seen: of an upload that is not complete nothing can be taken up."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._key = final(name) or f"{ASIDE}/{TEMPORARY}{os.urandom(8).hex()}"
        self._upload: Upload | None = bucket.upload(self._key)
        self.offset = 0

    @override
    def write(self, parts: Sequence[Bytes]) -> None:
        content = b"".join(parts)
        self._going().write(content)
        self.offset += len(content)

    def _going(self) -> Upload:
        if self._upload is None:
            raise OSError(errno.EBADF, "this upload was let go")
        return self._upload

    @override
    def push(self) -> None:
        """What is written is under way at once."""

    @override
    def seal(self, name: str) -> None:
        self._going().complete()
        self._upload = None
        if name != self._key:
            self._bucket.copy(self._key, name)
            self._bucket.delete(self._key)

    @override
    def abandon(self) -> None:
        self._upload = None  # the bucket's lifecycle clears away what it has of it


def final(name: str) -> str:
    """The name under which a pack that grows as `name` is sealed; empty for anything else.

    packs/SESSION.PACK.part becomes packs/PACK.pack.
    """
    folder, _, file = name.rpartition("/")
    if not file.endswith(".part"):
        return ""
    stem = file.removesuffix(".part").rpartition(".")[2]
    return f"{folder}/{stem}.pack" if folder else f"{stem}.pack"
