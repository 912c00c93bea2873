"""The process that sends notices: it alone loads apprise, and a service that hangs is left behind with it."""

from __future__ import annotations

import sys
from typing import Any

import msgspec


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One message to the addresses of apprise, which hold secrets and so come by stdin. dry: nobody is written to; it
    is good where every address is understood.
    """

    addresses: list[str]
    title: str
    body: str
    dry: bool = False


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """By letter, whether every address took it; why: not."""

    good: list[bool]
    why: str = ""


def main() -> None:
    """Send the letters on stdin, say on stdout how each went."""
    letters = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Letter])
    try:
        import apprise
    except ImportError:
        _say(Sent(good=[False] * len(letters), why="apprise is not installed: pip install 'crashcart[fleet]'"))
        return
    good: list[bool] = []
    for letter in letters:
        box = apprise.Apprise()
        known = [box.add(address) for address in letter.addresses]
        understood = bool(known) and all(known)
        good.append(understood and (letter.dry or _taken(box, letter, apprise.NotifyFormat.TEXT)))
    _say(Sent(good=good, why="" if all(good) else "an address was not understood, or did not take it"))


def _taken(box: Any, letter: Letter, plain: Any) -> bool:
    """Names of guests stand in it: a service that shows HTML or Markdown is given them escaped."""
    return bool(box.notify(title=letter.title, body=letter.body, body_format=plain))


def _say(sent: Sent) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(sent))


if __name__ == "__main__":
    main()
