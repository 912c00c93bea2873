"""The cookies that a site sets while redirects are followed, as far as they let one get to its page."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 50  # cookies; browsers keep some more of one site
LONGEST = 4096  # characters of one (RFC 6265 6.1)
Headers = tuple[tuple[str, str], ...]


def kept(headers: Headers, lines: Sequence[str]) -> Headers:
    """Request headers with what Set-Cookie `lines` set put into Cookie, and what they end taken out."""
    jar = dict(_pair(one) for name, value in headers if name.lower() == "cookie" for one in value.split(";"))
    for line in lines[:MOST]:
        first, *attributes = line[:LONGEST].split(";")
        name, value = _pair(first)
        jar.pop(name, None)
        if name and not any(one.strip().lower() in ("max-age=0", "max-age=-1") for one in attributes):
            jar[name] = value
    others = tuple((name, value) for name, value in headers if name.lower() != "cookie")
    jar.pop("", None)
    sent = "; ".join(f"{name}={value}" for name, value in sorted(jar.items())[:MOST])
    return (*others, ("Cookie", sent)) if sent else others


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    return (name.strip(), value.strip()) if equals else ("", "")
