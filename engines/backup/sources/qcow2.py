"""Opens qcow2 images; what reads them is loaded when there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from typing_extensions import override

from engines.backup.sources.options import SourceOptions
from engines.backup.sources.source import Format, Source, SourceOpener
from engines.host.image import Layers, Untrusted, called_qcow2, chain
from engines.job.errors import Refused


class Qcow2(SourceOpener):
    """See Opener."""

    def __init__(self, wish: SourceOptions) -> None:
        self._wish = wish

    @override
    def knows(self, where: Path, form: Format) -> bool:
        return form == "qcow2" or (form == "auto" and where.is_file() and called_qcow2(where))

    @override
    def look(self, where: Path, form: Format) -> AbstractContextManager[Source]:
        from engines.backup.sources import bitmap, nbd

        layers = trusted(where, self._wish.backing)
        if self._wish.hints == "bitmap":
            bitmap.fit(where)
        return nbd.served(layers, None, self._keeps())

    @contextmanager
    @override
    def open(self, where: Path, form: Format) -> Iterator[Source]:
        from engines.backup.sources import bitmap, nbd

        layers = trusted(where, self._wish.backing)
        with bitmap.recording(where, self._wish) as record, nbd.served(layers, record, self._keeps()) as source:
            yield source

    def _keeps(self) -> str:
        from engines.backup.sources import bitmap

        return bitmap.KEEPS if self._wish.hints == "bitmap" else ""


def trusted(where: Path, backing: Sequence[str]) -> Layers:
    """The image and the files below it. Raises Refused where it leads to files that nobody meant."""
    try:
        return [(where, "qcow2"), *chain(where, backing)[1:]]
    except Untrusted as why:
        raise Refused(why.why, why.what_helps) from None
