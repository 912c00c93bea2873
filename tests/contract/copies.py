"""The sample task: a text copied over another, and anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract.copier import Copier
from tests.contract.target import Case


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
