"""What the report of an operation shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from engines.job.contract import Section


@dataclass
class Evidence:
    """Sections in order, the result's plain values, and why the boot test is not sure, where it is not."""

    sections: list[Section] = field(default_factory=list)
    result: dict[str, object] = field(default_factory=dict)
    unsure: str = ""
