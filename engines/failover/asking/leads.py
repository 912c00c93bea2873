"""Where an answer sends its visitors: by a redirect, or by a page that sends on by itself."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import quote, urljoin, urlsplit

from engines.failover.asking.http1 import Reply
from engines.failover.asking.site import labels

REDIRECTS = (301, 302, 303, 307, 308)
ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")


def leads(reply: Reply | None, url: str) -> str:
    """Where the answer to a request for `url` leads; empty where it stays, or loads itself anew."""
    if reply is None:
        return ""
    if reply.head.status in REDIRECTS:
        location = _in_utf_8(reply.head.headers.get("location", ""))
        return plainly(url, location[:2000]) if location else ""
    onward = reply.sent_on()
    led = plainly(url, onward) if onward else ""
    return "" if led == plainly(url) else led


def plainly(base: str, onward: str = "") -> str:
    """Where `onward` leads from `base`, in its shortest form, so that equal targets look alike; as sent if no URL."""
    url = onward or base
    head, mark, rest = onward.strip().partition("?")
    try:
        url = urljoin(base, head.replace("\\", "/") + mark + rest)  # url.spec.whatwg.org: to browsers \ is a slash
        whole = urlsplit(url)
        port = "" if whole.port in (None, {"http": 80, "https": 443}.get(whole.scheme)) else f":{whole.port}"
    except ValueError:
        return url[:200]
    query = f"?{_escaped(whole.query)}" if whole.query else ""
    path = ESCAPED.sub(_unescaped, _escaped(whole.path or "/"))
    return f"{whole.scheme}://{_host(whole.hostname or '')}{port}{path}{query}"


def _host(name: str) -> str:
    """A host as DNS knows it, so that both spellings of an international name are one."""
    with suppress(UnicodeError):
        name = name if name.isascii() else ".".join(labels(name))
    return name.rstrip(".")


def _escaped(part: str) -> str:
    return part if part.isascii() else quote(part, safe="".join(map(chr, range(0x21, 0x7F))))


def _in_utf_8(header: str) -> str:
    """A header's value as browsers take it: in UTF-8 where its bytes are."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _unescaped(found: re.Match[str]) -> str:
    """RFC 3986 6.2.2: what needs no escape stands for itself, the others in upper case."""
    letter = chr(int(found[1], 16))
    return letter if letter.isascii() and (letter.isalnum() or letter in "-._~") else found[0].upper()
