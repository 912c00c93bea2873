"""The flasher's switches: the default ones, the vendor's, or the technician's own."""

from __future__ import annotations

from engines.biosiso.vendor.batch import SWITCH
from engines.job.errors import BadParam

DEFAULT = "/FDT /MER /OPR"
MAIN = ("/P", "/B", "/N", "/K")
ALLOWED = "switches such as /P /B /N /K /R /FDT /MER /OPR"


def read(text: str) -> str:
    """Switches one blank apart, upper case. Raises BadParam."""
    words = text.split()
    for word in words:
        if not SWITCH.fullmatch(word):
            raise BadParam("switches", text, ALLOWED, f"{word!r} is no switch")
        if word.upper().partition(":")[0] == "/X":
            raise BadParam(
                "switches", text, ALLOWED, "/X flashes without comparing the ROM's ID with the board: leave it out"
            )
    joined = " ".join(words).upper()
    if not words or len(joined) > 80:
        raise BadParam("switches", text, ALLOWED + ", at least one, at most 80 characters")
    return joined


def offered(vendor: str) -> str:
    """The vendor's switches where they can be offered; empty where there are none or they hold /X."""
    try:
        return read(vendor) if vendor else ""
    except BadParam:
        return ""


def picked_by(chosen: str, vendor: str) -> str:
    """Whose line was picked: default, vendor or own."""
    if chosen == DEFAULT:
        return "default"
    return "vendor" if vendor and chosen == vendor else "own"


def warnings(chosen: str, vendor: str) -> tuple[str, ...]:
    """What the chosen line leaves out that the vendor's own has."""
    missing = [switch for switch in MAIN if switch in vendor.split() and switch not in chosen.split()]
    if missing:
        return (
            f"the chosen line has no {' '.join(missing)}, which the vendor's own line has: "
            "whether the flasher then programs the main block is not known; the vendor's line is one choice away",
        )
    if not vendor and not any(switch in chosen.split() for switch in MAIN):
        return (
            "the vendor's own line is not known, and the chosen one has no /P /B /N /K (main, boot block, NVRAM, rest)",
        )
    return ()
