"""Points to take files out of, and what must have come of it."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from engines.backup.files.taking.staging import PREFIX
from engines.job import runs
from engines.job.contract import Finished
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree
from tests.engines.backup.lab import MIB


class Staged:
    """An image, and the point that was made of it."""

    def __init__(self, folder: Path, fill: Callable[[Path], object], **how: Any) -> None:
        self.image = guest_tree.ext4(folder / "image", fill, **how)
        self.repo = lab.init(folder / "repo")
        self.point = lab.backup(self.repo, self.image)

    @cached_property
    def told(self) -> dict[bytes, dict[str, Any]]:
        """What the kernel finds in it."""
        with guest_tree.mounted(self.image) as root:
            return guest_tree.told(root)

    def get(self, dest: Path, *paths: str, **params: Any) -> tuple[runs.Run, Any]:
        """A run of get, to its last word."""
        return lab.perform_job("backup-get", **self.params(dest, *paths, **params))

    def params(self, dest: Path, *paths: str, **params: Any) -> dict[str, Any]:
        named = [f"{self.point}:{path}" for path in paths or ("/",)]
        return {"repo": self.repo, "paths": named, "dest": str(dest), **params}


def in_state(folder: Path) -> Callable[[], None]:
    """Have runs write there while a module's fixture is made."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")

    def back() -> None:
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before

    return back


@contextmanager
def staged(folder: Path, fill: Callable[[Path], object], **how: Any) -> Iterator[Staged]:
    back = in_state(folder)
    try:
        yield Staged(folder, fill, **how)
    finally:
        back()


def finished(found: tuple[runs.Run, Any]) -> dict[str, Any]:
    assert isinstance(found[1], Finished), found[1]
    return found[1].result


def same(guest: Staged, dest: Path, *, but: tuple[bytes, ...] = ()) -> None:
    """What is in `dest` is what the kernel finds in the image."""
    wanted, got = guest.told, guest_tree.told(dest)
    assert got.keys() == wanted.keys()
    for path in wanted.keys() - set(but):
        assert got[path] == wanted[path], path


def whole(guest: Staged, dest: Path) -> int:
    """How many files are there, each of them whole; what is under a temporary name counts for nothing."""
    wanted, count = guest.told, 0
    for path, found in guest_tree.told(dest).items() if dest.exists() else ():
        if stat.S_ISREG(int(found["mode"], 8)) and PREFIX not in path:
            assert found["content"] == wanted[path]["content"], path
            assert found["mode"] == wanted[path]["mode"]
            count += 1
    return count


def many(root: Path) -> None:
    rng = random.Random(11)
    for at in range(1500):
        folder = root / f"f{at % 30}"
        folder.mkdir(exist_ok=True)
        (folder / str(at)).write_bytes(rng.randbytes(rng.randrange(6_000)))
    for at in range(3):
        (root / f"big{at}").write_bytes(rng.randbytes(6 * MIB))
    for at in range(100):
        os.link(root / f"f0/{at * 30 % 1500 // 30 * 30}", root / f"f1/link{at}")
