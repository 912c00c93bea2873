"""Where an answer sends its visitors: by a redirect, or by a page that sends on by itself."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from engines.failover.asking.http1 import Reply

REDIRECTS = (301, 302, 303, 307, 308)
ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")


def leads(reply: Reply | None, url: str) -> str:
    """Where the answer to a request for `url` leads; empty where it stays, or loads itself anew."""
    if reply is None:
        return ""
    if reply.head.status in REDIRECTS:
        location = reply.head.headers.get("location", "")
        return plainly(url, location[:2000]) if location else ""
    onward = reply.sent_on()
    led = plainly(url, onward) if onward else ""
    return "" if led == plainly(url) else led


def plainly(base: str, onward: str = "") -> str:
    """Where `onward` leads from `base`, in its shortest form, so that equal targets look alike; as sent if no URL."""
    url = onward or base
    try:
        url = urljoin(base, onward)
        whole = urlsplit(url)
        port = "" if whole.port in (None, {"http": 80, "https": 443}.get(whole.scheme)) else f":{whole.port}"
    except ValueError:
        return url[:200]
    query = f"?{whole.query}" if whole.query else ""
    path = ESCAPED.sub(_unescaped, whole.path or "/")
    return f"{whole.scheme}://{(whole.hostname or '').rstrip('.')}{port}{path}{query}"


def _unescaped(found: re.Match[str]) -> str:
    """RFC 3986 6.2.2: what needs no escape stands for itself, the others in upper case."""
    letter = chr(int(found[1], 16))
    return letter if letter.isascii() and (letter.isalnum() or letter in "-._~") else found[0].upper()
