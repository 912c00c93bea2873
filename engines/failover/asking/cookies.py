"""The cookies that a site sets while redirects are followed, as far as they let one get to its page."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from engines.host import cookie

MOST = 50  # cookies; browsers keep some more of one site
LONGEST = 4096  # characters of one (RFC 6265 6.1)
Headers = tuple[tuple[str, str], ...]


def kept(headers: Headers, lines: Sequence[str]) -> Headers:
    """Request headers with what Set-Cookie `lines` set put into Cookie, and what they end taken out."""
    jar = dict(_pair(one) for name, value in headers if name.lower() == "cookie" for one in value.split(";"))
    for line in lines[:MOST]:
        name, value = _pair(line[:LONGEST].partition(";")[0])
        jar.pop(name, None)
        if name and not cookie.ended(line[:LONGEST], time.time()):
            jar[name] = value
    return _with(headers, jar)


def taken(lines: Sequence[str], *, https: bool) -> list[str]:
    """Of Set-Cookie `lines` those that are taken: over HTTP none that is for HTTPS only."""
    return [line for line in lines if https or not cookie.secure(line[:LONGEST])]


def for_https(names: Collection[str], lines: Sequence[str]) -> frozenset[str]:
    """The names of cookies that go over HTTPS only, once Set-Cookie `lines` were taken."""
    secure = dict.fromkeys(names, True)
    secure |= {_pair(line.partition(";")[0])[0]: cookie.secure(line[:LONGEST]) for line in lines[:MOST]}
    return frozenset(name for name, only in secure.items() if only)


def sent(headers: Headers, left_out: Collection[str]) -> Headers:
    """Request headers without the cookies of those names."""
    if not left_out:
        return headers
    jar = dict(_pair(one) for name, value in headers if name.lower() == "cookie" for one in value.split(";"))
    return _with(headers, {name: value for name, value in jar.items() if name not in left_out})


def _with(headers: Headers, jar: dict[str, str]) -> Headers:
    """The headers with those cookies in the place of any they had."""
    others = tuple((name, value) for name, value in headers if name.lower() != "cookie")
    jar.pop("", None)
    line = "; ".join(f"{name}={value}" for name, value in sorted(jar.items())[:MOST])
    return (*others, ("Cookie", line)) if line else others


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    return (name.strip(), value.strip()) if equals else ("", "")
