"""Opens qcow2 images; what reads them is loaded when there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from typing_extensions import override

from engines.backup.sources.options import SourceOptions
from engines.backup.sources.source import Format, Opener, Source


class Qcow2(Opener):
    """See Opener."""

    def __init__(self, wish: SourceOptions) -> None:
        self._wish = wish

    @override
    def knows(self, where: Path, form: Format) -> bool:
        return form == "qcow2" or (form == "auto" and where.suffix.lower() == ".qcow2" and where.is_file())

    @override
    def look(self, where: Path, form: Format) -> AbstractContextManager[Source]:
        from engines.backup.sources import bitmap, nbd

        if self._wish.hints == "bitmap":
            bitmap.fit(where)
        return nbd.served(where, None, self._keeps())

    @contextmanager
    @override
    def open(self, where: Path, form: Format) -> Iterator[Source]:
        from engines.backup.sources import bitmap, nbd

        with bitmap.recording(where, self._wish) as record, nbd.served(where, record, self._keeps()) as source:
            yield source

    def _keeps(self) -> str:
        from engines.backup.sources import bitmap

        return bitmap.KEEPS if self._wish.hints == "bitmap" else ""
