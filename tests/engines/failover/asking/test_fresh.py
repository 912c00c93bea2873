"""What is made for one request sets no copies apart; what a visitor would notice does."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def failing_then() -> Says:
    """A number that is another each time; the second time as a server's error, which nobody is to compare."""
    turn = itertools.count(7)

    def says() -> bytes:
        body = b'{"ok":true,"at":%d}' % (number := next(turn))
        return said(body) if number % 2 else said(body).replace(b"200 OK", b"503 Down", 1)

    return says


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
    "another status in short": (page('{"ok":true,"at":"1@"}'), page('{"error":"down","code":17,"at":"1@"}'), None),
    "a copy that fails": (in_turn('{"ok":true,"at":1}', '{"ok":true,"at":2}'), failing_then(), None),
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
        ((("shop 17", "shop 18"), ("shop closed", "shop closed")), ["shop 17", "shop closed"]),
        ((("shop 17", "shop 18"), ("shop 5", "shop 5")), ["shop 17", "shop 5"]),
        ((("at 12:00:59", "at 12:01:00"), ("at 12:01:00", "at 12:01:01")), ["at 12:…:…"] * 2),
        ((("MyShop", "ParkedDomain"), ("ParkedDomain", "MyShop")), ["MyShop", "ParkedDomain"]),
        ((("Лучший магазин", "Домен запаркован"), ("Домен запаркован", "Лучший магазин")),
         ["Лучший магазин", "Домен запаркован"]),
        ((("магазин1", "парковка2"), ("парковка2", "магазин1")), ["магазин1", "парковка2"]),
        ((("Лучший магазин 17", "Лучший магазин 18"), ("Лучший магазин 3", "Лучший магазин 4")),
         ["Лучший магазин …"] * 2),
        ((("shop-17", "shop-18"), ("closed-17", "closed-18")), ["shop-…", "closed-…"]),
        ((("shop/17", "shop/18"), ("sorry/a/17", "sorry/a/18")), ["shop/…", "sorry/a/…"]),
        ((('{"ok":true,"at":17}', '{"ok":true,"at":18}'), ('{"error":"down","code":17,"at":17}',
         '{"error":"down","code":17,"at":18}')), ['{"ok":true,"at":17}', '{"error":"down","code":17,"at":17}']),
    ],
)  # fmt: skip
def test_what_is_left_out(said: tuple[tuple[str, str], ...], left: list[str]) -> None:
    assert fresh.texts(said) == left


def test_no_page_is_left_out_whole() -> None:
    said = (("a+b9/c+xyz=", "d9e+f="), ("g/h9", "i+j9/"))
    assert fresh.texts(said, whole=False) == ["a+b9/c+xyz=", "g/h9"]


@pytest.mark.parametrize(
    ("first", "second", "led"),
    [
        ("/s/t@a/x", "/s/parked/x", None),
        ("/s/t@a/x", "/s/parked1/x", None),
        ("/?q=%ff&s=a@", "/?q=%fe&s=a@", None),
        ("/?q=%ff&s=a@", "/?q=%ff&s=a@", "/?q=%ff&s=…"),
        ("/?to=%2Fa%20b%2F@", "/?to=%2Fa%20b%2F@", "/?to=%2Fa%20b%2F…"),
    ],
)
def test_what_is_left_out_of_a_url(first: str, second: str, led: str | None) -> None:
    said = [(one.replace("@", f"{at}1"), one.replace("@", f"{at}2")) for at, one in enumerate((first, second))]
    left = fresh.urls(said)
    assert left == [led, led] if led else left[0] != left[1]


WORDS = st.lists(st.sampled_from(["shop", "a9", "b7", "1", "+", " ", "…"]), max_size=6).map("".join)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_what_is_left_out_is_what_every_copy_says_anew(said: list[tuple[str, str]]) -> None:
    """Word by word, as the rule has it: where one place is not another in any copy, nothing is left out."""
    split = [tuple(fresh.WORD.split(one) for one in twice) for twice in said]
    left = fresh.texts(said, whole=False)
    if len({len(words) for twice in split for words in twice}) > 1:
        assert left == [first for first, _ in said]
        return
    wanted = [list(first) for first, _ in split]
    for at in range(1, len(wanted[0]), 2):
        column = [(first[at], again[at]) for first, again in split]
        if fresh._new(column, fresh.TOKEN):
            for words, twice in zip(wanted, column, strict=True):
                words[at] = fresh._rest(*twice)
    assert left == ["".join(words) for words in wanted]


def test_many_copies_are_compared_in_one_pass() -> None:
    said = [(f"a+b{at}", f"{at}+9") if at else ("a1", "b2") for at in range(4000)]
    assert set(fresh.texts(said)) == {fresh.LEFT_OUT}


def test_a_target_that_is_no_url_is_taken_as_it_is() -> None:
    assert fresh.urls([("http://[x/", "http://[x/"), ("", "")]) == ["http://[x/", ""]
