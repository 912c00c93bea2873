"""Opens qcow2 images; what reads them is loaded when there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from engines.backup.sources.source import Format, Source
from engines.backup.sources.wish import Wish


class Qcow2:
    """See Opener."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish

    def knows(self, where: Path, form: Format) -> bool:
        """See Opener."""
        return form == "qcow2" or (form == "auto" and where.suffix.lower() == ".qcow2" and where.is_file())

    def look(self, where: Path, form: Format) -> AbstractContextManager[Source]:  # noqa: ARG002  it is qcow2
        """See Opener."""
        from engines.backup.sources import bitmap, nbd

        if self._wish.hints == "bitmap":
            bitmap.fit(where)
        return nbd.served(where, None, self._keeps())

    @contextmanager
    def open(self, where: Path, form: Format) -> Iterator[Source]:  # noqa: ARG002  it is qcow2
        """See Opener."""
        from engines.backup.sources import bitmap, nbd

        with bitmap.recording(where, self._wish) as record, nbd.served(where, record, self._keeps()) as source:
            yield source

    def _keeps(self) -> str:
        from engines.backup.sources import bitmap

        return bitmap.KEEPS if self._wish.hints == "bitmap" else ""
