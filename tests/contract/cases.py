"""The tasks that the contract suite holds to their promises, each with a target made for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.job.contract import Engine
from engines.job.jobfile import Job
from engines.job.params import Params, convert
from tests.contract.copier import Copier


@dataclass(frozen=True)
class Case:
    """One task. `stage` fills an empty folder and gives the parameters; `wrong` changes them into refusals."""

    name: str
    engine: Callable[[], Engine[Any]]
    stage: Callable[[Path], dict[str, Any]]
    wrong: tuple[dict[str, Any], ...]

    def job(self, folder: Path) -> Job:
        folder.mkdir(parents=True, exist_ok=True)
        return Job(task=self.engine().name, params=self.stage(folder))

    def params(self, job: Job) -> Params:
        params: Params = convert(self.engine().params, job.params)
        return params


def copied(folder: Path) -> dict[str, Any]:
    (folder / "source").write_text("cold console")
    (folder / "out").write_text("warm bed")
    return {"source": str(folder / "source"), "output": str(folder / "out"), "warn": True}


def copied_anew(folder: Path) -> dict[str, Any]:
    return {**copied(folder), "output": str(folder / "new")}


CASES = (
    Case("copier", Copier, copied, ({"source": "/nowhere"},)),
    Case("copier anew", Copier, copied_anew, ({"source": "/nowhere"},)),
)


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file below `folder`: mode, mtime in ns, SHA-256."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path.is_symlink())
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_mtime_ns if path.is_file() else 0, content)
    return found


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its SHA-256."""
    return {name: seen[2] for name, seen in snapshot(folder).items()}
