"""What an appliance answers: the calls that its volumes, mounts and maps are made of."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol


class Shell(Protocol):
    """What runs a script within the appliance."""

    def shell(self, script: bytes) -> bytes:
        """What it prints, the guest below /sysroot. Raises BrowseError, Damaged, Missing, Stopped."""
        ...


class Calls(Shell, Protocol):
    """An appliance over one disk; any thread may ask, one call at a time is answered.

    replays: how often its kernel has said that it replayed a journal.
    """

    replays: int

    @property
    def folder(self) -> Path:
        """Private to this disk, for pipes."""
        ...

    def call(self, name: str, *arguments: Any) -> Any:
        """One libguestfs call with text. Raises BrowseError, Damaged, Missing, Stopped."""
        ...

    def bytewise(self, path: bytes, name: str, *arguments: Any) -> Any:
        """One call with bytes; `path` is named where it fails. Raises NoSuchFile and what `call` raises."""
        ...

    def asking(self, path: bytes) -> AbstractContextManager[None]:
        """One call at a time, and its failure as one of the browser's errors."""
        ...
