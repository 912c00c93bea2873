"""How long a kernel goes on sending SYNs to an address that does not answer.

Source: Linux ip-sysctl, tcp_syn_retries and tcp_syn_linear_timeouts (the latter since 6.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.job.errors import BadParam, Refused

SYSCTLS = Path("/proc/sys/net/ipv4")
RETRIES, LINEAR = "tcp_syn_retries", "tcp_syn_linear_timeouts"


@dataclass(frozen=True)
class Ladder:
    """`linear` SYNs a second apart, then `retries` more that double; `linear` is None where its sysctl is missing."""

    name: str
    words: str
    retries: int
    linear: int | None

    @property
    def seconds(self) -> int:
        """From the first SYN until connect() fails, in seconds; measured totals are 0.5 to 4 s longer."""
        return (self.linear or 0) + (2 << self.retries) - 1

    @property
    def settings(self) -> dict[str, int]:
        """The sysctls that make it, by name."""
        return {RETRIES: self.retries} | ({} if self.linear is None else {LINEAR: self.linear})


LADDERS = {
    "linux": Ladder("linux", "Linux 6.5 and later", 6, 4),
    "linux-old": Ladder("linux-old", "Linux before 6.5", 6, 0),
    "windows": Ladder("windows", "like the 21 s of Windows (3 + 6 + 12 s)", 3, 6),
    "short": Ladder("short", "3 s, for rehearsals only", 1, 0),
}


def choose(name: str, sysctls: Path = SYSCTLS) -> Ladder:
    """The ladder of that name as this kernel can play it; "own" is its default. Raises Refused."""
    has_linear = (sysctls / LINEAR).exists()
    own = LADDERS["linux" if has_linear else "linux-old"]
    wanted = own if name == "own" else LADDERS.get(name)
    if wanted is None:
        raise BadParam("ladder", name, "one of own, " + ", ".join(LADDERS))
    if has_linear:
        return wanted
    if wanted.linear:
        raise Refused(
            f"ladder {name} needs the sysctl net.ipv4.{LINEAR}, which this kernel lacks (it came with 6.5)",
            f"measure with this machine's own ladder, {own.name} ({own.seconds} s): leave ladder out",
        )
    return Ladder(wanted.name, wanted.words, wanted.retries, None)
