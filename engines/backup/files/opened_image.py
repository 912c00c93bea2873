"""An open raw image as the disk that its files are read from."""

from __future__ import annotations

import os
from io import BufferedReader


class OpenedImage:
    """The bytes of an open file, read by any number of threads."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes, fewer only at the end."""
        return os.pread(self._file.fileno(), length, offset)
