"""A netplan file: the cards that it names, what binds them, and the addresses that it gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

IPV4 = r"((?:\d{1,3}\.){3}\d{1,3})(?![\d.])"
LARGEST = 65536  # bytes of a plan that are read: 64 KiB take a second
OPENING = re.compile(rb"[\[{]")
OPENINGS = 64  # in a line; the reader's time goes by their square


@lru_cache(maxsize=8)
def cards(content: bytes) -> tuple[tuple[str, str], ...]:
    """(name, address) of netplan's cards; a pattern of names is no name."""
    return tuple(_read(content))


def _plan(content: bytes) -> dict[str, object]:
    """A plan's `network`, or all of it where it has none; empty for what cannot be read."""
    import yaml

    if len(content) > LARGEST or any(len(OPENING.findall(line)) > OPENINGS for line in content.splitlines()):
        return {}
    try:
        plan = yaml.load(content, yaml.BaseLoader)  # noqa: S506 all is text to it: 52:54:00:12:34:56 is no number
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    return _table(_table(plan).get("network", {"ethernets": plan}))


def addresses(content: bytes) -> list[str]:
    """The IPv4 addresses that a plan gives to interfaces of any kind, not those of routes, servers and peers."""
    found = []
    for kind in _plan(content).values():
        for body in _table(kind).values():
            given = _table(body).get("addresses")
            for each in given if isinstance(given, list) else []:
                text = next(iter(each), "") if isinstance(each, dict) else each  # one with a label is a table's name
                if named := re.match(rf"{IPV4}/\d", _text(text)):
                    found.append(named.group(1))
    return found


def _read(content: bytes) -> Iterator[tuple[str, str]]:
    for name, body in _table(_plan(content).get("ethernets")).items():
        body = _table(body)
        match = _table(body.get("match"))
        own = "" if "driver" in match and "macaddress" not in match else _text(name)
        called = _text(body.get("set-name")) or _text(match.get("name")) or own
        if called and not re.search(r"[*?\[]", called):
            yield called, _text(match.get("macaddress")).lower()


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """Empty for what is no text: aliases within aliases would be written out in gigabytes."""
    return value if isinstance(value, str) else ""
