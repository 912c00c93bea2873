"""What a copy says anew with each request (tokens, nonces, times), so that copies are not held apart by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

LEFT_OUT = "…"
WORD = re.compile(r"([A-Za-z0-9_~-]+)")
TOKEN = re.compile(r".*\d.*|.{16,}|.*[a-z][A-Z].*", re.DOTALL)
"""What may be made for one request. A plain word never is: a copy that turns from one site to another is no token."""

Twice = tuple[str, str]


def texts(said: Sequence[Twice]) -> list[str]:
    """What each copy said first, of two answers of each: words that a copy does not say twice are left out of all."""
    split = [tuple(WORD.split(one) for one in twice) for twice in said]
    if len({len(words) for twice in split for words in twice}) > 1:
        return [_whole(first, again, said) for first, again in said]
    new = {
        at
        for first, again in split
        for at, (word, other) in enumerate(zip(first, again, strict=True))
        if word != other and TOKEN.fullmatch(word) and TOKEN.fullmatch(other)
    }
    return ["".join(LEFT_OUT if at in new else word for at, word in enumerate(first)) for first, _ in split]


def _whole(first: str, again: str, said: Sequence[Twice]) -> str:
    """One token with marks in it (base64's + and /), whose number is another each time; anything else as it is."""
    every = [one for twice in said for one in twice]
    fresh = all(first != again for first, again in said) and not any(re.search(r"\s|://", one) for one in every)
    return LEFT_OUT if first != again and fresh and all(map(TOKEN.fullmatch, every)) else first


def urls(said: Sequence[Twice]) -> list[str]:
    """The same of redirect targets: scheme, host and the names of parameters are always compared."""
    parts = [(_parts(first), _parts(again)) for first, again in said]
    if len({(len(one), one[0], _names(one)) for twice in parts for one in twice}) > 1:
        return [first for first, _ in said]
    columns = [texts([(first[at], again[at]) for first, again in parts]) for at in range(1, len(parts[0][0]))]
    return [first[0] + "".join(column[at] for column in columns) for at, (first, _) in enumerate(parts)]


def _parts(url: str) -> list[str]:
    """Scheme and host; then each step of the path and each parameter, with the mark before it."""
    found = re.match(r"[a-z][a-z0-9+.-]*://[^/?]*", url)
    begin = found[0] if found else ""
    return [begin, *(unquote(part) for part in re.findall(r"[/?&;=]?[^/?&;=]*", url[len(begin) :]) if part)]


def _names(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if part[:1] in "?&;")
