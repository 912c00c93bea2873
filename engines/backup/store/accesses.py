"""What this user's files say of far places: by place, a few words each, as they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.job.errors import Refused
from engines.job.jobfile import configured, yaml_of


def places(path: Path) -> list[str]:
    """The places that the file names. Raises FileNotFoundError, Refused."""
    return sorted(_written(path))


def said_of(path: Path, place: str, allowed: tuple[str, ...]) -> dict[str, str] | None:
    """What the file says of one place; None where it says nothing. Raises FileNotFoundError, Refused."""
    entry = _written(path).get(place) or None
    if entry is None:
        return None
    helps = f"allowed are {', '.join(allowed)}"
    if not isinstance(entry, dict):
        raise Refused(f"{path} says of {place} what is not understood: it is no mapping", helps)
    for key, value in entry.items():
        if key not in allowed:
            raise Refused(f"{path} says {str(key)[:80]!r} of {place}, which is not understood", helps)
        if not isinstance(value, str):
            raise Refused(f"{path} gives {place} several of {key}", "write one")
    return {key: value.strip() for key, value in entry.items()}


def _written(path: Path) -> dict[str, Any]:
    raw = configured(path, "access file")
    if raw is None:
        raise FileNotFoundError(path)
    found = yaml_of(raw, str(path), "write by place what README says: 'PLACE: {key_file: FILE}'", as_written=True)
    if found and not isinstance(found, dict):
        raise Refused(f"{path} names no places: it is no mapping", "write 'PLACE: {…}', as README says")
    return {str(name): entry for name, entry in (found or {}).items()}
