"""Whether the switch that LLDP sees behind a port is the mate that was looked at."""

from __future__ import annotations

import re

from engines.vdx.switch.look import End
from engines.vdx.switch.pair import Pair
from engines.vdx.switch.parse import Neighbour

FACTORY = "sw0"  # what every switch is called before somebody names it


def same_switch(seen: Neighbour, end: End) -> bool | None:
    """True where its name, WWN or management address says so; None where nothing does.

    A name counts without regard to case, and to a domain that only one of the two has; one that many switches have
    does not count against another chassis.
    """
    mac, wwn = _digits(seen.chassis), _digits(end.wwn)
    if len(mac) == 12 and wwn.endswith(mac):
        return True
    reached = end.address.rpartition(":")[0] or end.address  # its own word for its address may be the factory's
    if seen.address and seen.address == reached:
        return True
    if not (_same_name(seen.system, end.hostname) or _same_name(seen.system, end.name_in_lldp)):
        return None
    shared = end.hostname.lower() == FACTORY or end.label != end.hostname
    return None if shared and len(mac) == 12 and wwn else True


def parallel(pair: Pair) -> list[str]:
    """Ports of the first switch whose neighbour is the mate, the broken one included."""
    if pair.b is None:
        name = pair.a.neighbour.system if pair.a.neighbour else ""
        here = [seen.local for seen in pair.a.neighbours if name and seen.system == name]
        return list(dict.fromkeys([pair.a.interface, *here]))
    b, a = pair.b, pair.a
    here = [seen.local for seen in a.neighbours if _may_be(seen, b)]
    there = [seen for seen in b.neighbours if _may_be(seen, a)]
    mine = list(dict.fromkeys([a.interface, *here]))
    return mine if len(mine) >= len(there) else list(dict.fromkeys([*mine, *(seen.remote for seen in there)]))


def _may_be(seen: Neighbour, end: End) -> bool:
    """Whether it is counted as a cable to that switch: rather one too many than a loop that is not seen."""
    return bool(same_switch(seen, end)) or _same_name(seen.system, end.hostname)


def _same_name(one: str, other: str) -> bool:
    one, other = one.lower().rstrip("."), other.lower().rstrip(".")
    if not one or not other:
        return False
    return one == other or (("." in one) != ("." in other) and one.partition(".")[0] == other.partition(".")[0])


def _digits(text: str) -> str:
    return re.sub(r"[^0-9a-f]", "", text.lower())
