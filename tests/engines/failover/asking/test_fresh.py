"""What is made for one request sets no copies apart; what a visitor would notice does."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable

import pytest

from engines.failover.asking import fresh, probe
from engines.failover.asking.site import SiteParams
from engines.job.params import convert
from tests.engines.failover.asking.test_alike import CLOSED, NAME, TWO, said
from tests.engines.failover.stage import Handler, Stage

Says = Callable[[], bytes]


def to(target: str) -> Says:
    return lambda: CLOSED % (b"302 Found", b"Location: " + target.replace("@", secrets.token_hex(8)).encode() + b"\r\n")


def page(text: str) -> Says:
    return lambda: said(text.replace("@", secrets.token_hex(8)).encode())


def in_turn(*texts: str) -> Says:
    turn = itertools.cycle(texts)
    return lambda: said(next(turn).encode())


def answering(says: Says) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(says() if NAME.encode() in asked else said(b"nobody"))  # the probe asks for another name, too
        await writer.drain()
        writer.close()

    return handler


LOGIN = "https://id.test/login?client=shop&state=@&nonce=@"
CASES: dict[str, tuple[Says, Says, bool | None]] = {
    "state and nonce": (to(LOGIN), to(LOGIN), True),
    "session in the path": (to("/s/@/start;jsessionid=@"), to("/s/@/start;jsessionid=@"), True),
    "nested": (
        to("https://id.test/?next=https%3A%2F%2Fshop.test%2F%3Fs%3D@"),
        to("https://id.test/?next=https%3A%2F%2Fshop.test%2F%3Fs%3D@"),
        True,
    ),
    "another host": (to(LOGIN), to(LOGIN.replace("id.test", "old.test")), None),
    "another host within": (to("/?next=https%3A%2F%2Fa1.test%2F@"), to("/?next=https%3A%2F%2Fb1.test%2F@"), None),
    "another page": (to(LOGIN), to(LOGIN.replace("/login", "/sorry")), None),
    "another client": (to(LOGIN), to(LOGIN.replace("=shop", "=park")), None),
    "one without a token": (to(LOGIN), to("https://id.test/login?client=shop"), None),
    "request id in a title": (page("<title>a shop #@</title>"), page("<title>a shop #@</title>"), True),
    "another title": (page("<title>a shop #@</title>"), page("<title>a park #@</title>"), None),
    "time in a status": (page('{"ok": true, "id": "@"}'), page('{"ok": true, "id": "@"}'), True),
    "another status": (page('{"ok": true, "id": "@"}'), page('{"ok": false, "id": "@"}'), None),
    "a copy that turns": (
        in_turn("<title>shop</title>", "<title>parked</title>"),
        in_turn("<title>parked</title>", "<title>shop</title>"),
        None,
    ),
    "another release": (page("<title>shop 1.2</title>"), page("<title>shop 1.3</title>"), None),
}
MARKED = {"state and nonce", "session in the path", "nested", "another host within", "another page"}
MARKED |= {"another client", "request id in a title", "another title"}


@pytest.mark.parametrize("case", CASES)
def test_what_is_new_with_each_request_sets_no_copies_apart(stage: Stage, case: str) -> None:
    first, second, survives = CASES[case]
    port = stage.web(answering(first), TWO[0])
    stage.web(answering(second), TWO[1], port)
    given = {"name": NAME, "resolver": [stage.names(NAME, TWO)[1]], "scheme": "http", "port": port, "timeout": 20}
    found = probe.answer(convert(SiteParams, given))
    assert found.survives is survives, found.verdict
    assert (fresh.LEFT_OUT in found.lights[0].redirect + found.lights[0].title) == (case in MARKED)
    assert any(fresh.LEFT_OUT in note for note in found.notes) == (case in MARKED)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ((("a 12:00:01", "a 12:00:03"), ("a 12:00:02", "a 12:00:04")), ["a 12:00:…", "a 12:00:…"]),
        ((("a+b9/c+xyz=", "d9e+f="), ("g/h9", "i+j9/")), ["…", "…"]),
        ((("x1", "x1"), ("x2", "x2")), ["x1", "x2"]),
        ((("shop", "park"), ("park", "shop")), ["shop", "park"]),
    ],
)
def test_what_is_left_out(said: tuple[tuple[str, str], ...], left: list[str]) -> None:
    assert fresh.texts(said) == left


def test_a_target_that_is_no_url_is_taken_as_it_is() -> None:
    assert fresh.urls([("http://[x/", "http://[x/"), ("", "")]) == ["http://[x/", ""]
