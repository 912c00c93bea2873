"""What a copy says anew with each request (tokens, nonces, times), so that copies are not held apart by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from urllib.parse import quote, unquote

LEFT_OUT = "…"
WORD = re.compile(r"([\w~-]+)")
TOKEN = re.compile(r"(?=.*[0-9]|.{16})[A-Za-z0-9_~-]+")
"""What may be made for one request. A plain word never is: a copy that turns from one site to another is no token."""
MARKED = re.compile(r"(?=.*[0-9]|.{16})[A-Za-z0-9+/=_~-]+")
NAME = re.compile(r"\D*[A-Za-z]{3}\D*")
"""A word that stands fast at an end of a token, and says which page this is: two tokens hardly share three letters."""

Twice = tuple[str, str]


def texts(said: Sequence[Twice], *, whole: bool = True) -> list[str]:
    """What each copy said first, of two answers of each: tokens that copies do not say twice are left out of all.

    whole: a text may be one token with marks in it (base64's + and /), as a title or a parameter, never a page.
    """
    if all(first == again for first, again in said):
        return [first for first, _ in said]
    split = [(WORD.split(first), WORD.split(again)) for first, again in said]
    if len({len(words) for twice in split for words in twice}) > 1:
        return [_rest(*twice) for twice in said] if whole and _new(said, MARKED) else [first for first, _ in said]
    new = {at for at in _changed(split) if _new([(first[at], again[at]) for first, again in split], TOKEN)}
    return [_without(first, again, new) for first, again in split]


def _changed(split: Sequence[tuple[list[str], list[str]]]) -> set[int]:
    """The words that some copy says otherwise the second time: no other can be new, and a page has few such."""
    return {at for first, again in split for at in range(1, len(first), 2) if first[at] != again[at]}


def _without(first: list[str], again: list[str], new: set[int]) -> str:
    """A text's first answer, with what is new in it left out."""
    return "".join(_rest(word, again[at]) if at in new else word for at, word in enumerate(first))


def _new(said: Sequence[Twice], token: re.Pattern[str]) -> bool:
    """Whether all say tokens here, each copy another each time, or what one that does said, too (a clock's minute)."""
    renewed = {one for twice in said if twice[0] != twice[1] for one in twice}
    every = {one for twice in said for one in twice}
    return every == renewed != set() and all(map(token.fullmatch, every))


def _rest(first: str, again: str) -> str:
    """What stays of a token, around the mark."""
    begin = NAME.match(_alike(first, again))
    end = NAME.match(_alike(first[::-1], again[::-1]))
    return (begin[0] if begin else "") + LEFT_OUT + (end[0][::-1] if end else "")


def _alike(first: str, again: str) -> str:
    """What both begin with."""
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, again, strict=False)))


def urls(said: Sequence[Twice]) -> list[str]:
    """The same of redirect targets, as URLs: scheme, host and the names of parameters are always compared."""
    parts = [(_parts(first), _parts(again)) for first, again in said]
    if len({(len(one), one[0], _names(one)) for twice in parts for one in twice}) > 1:
        return [first for first, _ in said]
    columns = [_column([(first[at], again[at]) for first, again in parts]) for at in range(1, len(parts[0][0]))]
    return [first[0] + "".join(column[at] for column in columns) for at, (first, _) in enumerate(parts)]


def _column(said: Sequence[Twice]) -> list[str]:
    """Parts that stand at one place; the percent signs are away for as long as they are compared."""
    found = texts([(_plain(first), _plain(again)) for first, again in said])
    return [
        first if left == _plain(first) else left[:1] + LEFT_OUT.join(map(_quoted, left[1:].split(LEFT_OUT)))
        for left, (first, _) in zip(found, said, strict=True)
    ]


def _plain(part: str) -> str:
    return unquote(part, "latin-1")  # one character a byte: two that are no UTF-8 are not one


def _quoted(part: str) -> str:
    return quote(part, safe="+:", encoding="latin-1", errors="backslashreplace")


def _parts(url: str) -> list[str]:
    """Scheme and host; then each step of the path and each parameter, with the mark before it."""
    found = re.match(r"[a-z][a-z0-9+.-]*://[^/?]*", url)
    begin = found[0] if found else ""
    return [begin, *(part for part in re.findall(r"[/?&;=]?[^/?&;=]*", url[len(begin) :]) if part)]


def _names(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(_plain(part) for part in parts if part[:1] in "?&;")
