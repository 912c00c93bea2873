"""Descriptors 0 to 2 lead somewhere, and a terminal acts on nothing that somebody else named."""

from __future__ import annotations

import io
import os
import resource
import sys
from typing import TextIO


class Inert(io.TextIOWrapper):
    """Text whose control characters are shown as escapes, in JSON, too, where they mean the same."""

    def write(self, text: str) -> int:
        """Newlines and tabs pass, and a line's return at the end, as of a progress bar."""
        return super().write(text if text.isprintable() else inert(text))


def inert(text: str) -> str:
    """The text as it is written."""
    kept = "\n\t\r" if text.endswith("\r") and text.count("\r") == 1 else "\n\t"
    return "".join(char if char in kept or char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def settle() -> None:
    """Open /dev/null on those that are closed, let others write to no new file (umask 0), and dump no core."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    # Python leaves out the stream of a descriptor that was closed when it began: where the next file that is opened
    # took its place, that file would get the narration.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = _settled(sys.stdout, 1), _settled(sys.stderr, 2)
    os.umask(os.umask(0o077) | 0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold secrets


def _settled(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        stream = open(number, "w", closefd=False)  # noqa: SIM115
    if type(stream) is not io.TextIOWrapper:  # a test's own, or done before
        return stream
    buffered, errors = stream.line_buffering, "backslashreplace"
    return Inert(stream.detach(), encoding=stream.encoding, errors=errors, line_buffering=buffered)
