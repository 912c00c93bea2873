"""Whether a Set-Cookie line ends its cookie or keeps it for HTTPS (RFC 6265 5.2 and 5.3)."""

from __future__ import annotations

import email.utils
import re

SECONDS = re.compile(r"-?\d+")


def ended(line: str, now: float) -> bool:
    """Whether it takes the cookie away at `now` (Unix time): Max-Age goes before Expires, the last of each counts."""
    given = _attributes(line)
    if SECONDS.fullmatch(age := given.get("max-age", "")):
        return age.startswith("-") or not age.strip("0")
    try:
        parsed = email.utils.parsedate_tz(given.get("expires", ""))
        return parsed is not None and email.utils.mktime_tz(parsed) <= now
    except (ValueError, OverflowError, IndexError):  # no date at all, which browsers leave out
        return False


def secure(line: str) -> bool:
    """Whether it is for HTTPS only."""
    return "secure" in _attributes(line)


def _attributes(line: str) -> dict[str, str]:
    parts = (each.partition("=") for each in line.split(";")[1:])
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in parts}
