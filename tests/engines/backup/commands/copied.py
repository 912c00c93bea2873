"""Points to copy elsewhere, and what is asked of copies."""

from __future__ import annotations

import os
from pathlib import Path

from engines.backup.repository.repository import Repository
from tests.engines.backup import lab

MIB = 1 << 20
SIZE = 40 * MIB


def key_file(path: Path) -> str:
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return str(path)


def backups(repo: str, folder: Path, changes: list[dict[int, int]], vm: str = "web1") -> dict[str, bytes]:
    """Content by point."""
    made, blocks = {}, {number: number + 1 for number in range(30)}
    for change in changes:
        blocks |= change
        source = lab.disk(folder / f"{vm}.img", blocks, SIZE)
        made[lab.backup(repo, source, vm=vm)] = source.read_bytes()
    return made


def points(repo: str) -> set[str]:
    with Repository.glance(repo) as found:
        return {str(name) for name in found.names()}
