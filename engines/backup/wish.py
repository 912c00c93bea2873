"""How snapshots of a source shall be made, where it needs one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.backup import throttle
from engines.job.errors import BadParam


@dataclass(frozen=True)
class Wish:
    """run: the id of the run. agent: socket of the QEMU guest agent. size: bytes of a thick snapshot, 0 for a share."""

    run: str = ""
    agent: Path | None = None
    size: int = 0


def wished(params: dict[str, Any], run: str = "") -> Wish:
    """From the parameters `agent` and `snapshot_size`. Raises BadParam."""
    text = params["snapshot_size"]
    found = throttle.SIZE.fullmatch(text)
    if text and not found:
        raise BadParam("snapshot_size", text, "bytes like 512M or 20G")
    size = int(found[1]) * throttle.SUFFIX[found[2]] if found else 0
    return Wish(run, Path(params["agent"]) if params["agent"] else None, size)
