"""Cookies on the way through redirects: kept, replaced, ended, and for HTTPS only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.failover.asking import cookies
from engines.failover.asking.request import HttpRequest

NAME = "shop.test"


def test_cookies_are_kept_replaced_and_ended_beside_those_that_were_given() -> None:
    given = (("X-A", "1"), ("Cookie", "b=2; c=3"))
    lines = ("b=9; Path=/", "c=; Max-Age=0", "d=e=f; Secure", "nonsense", "")
    assert cookies.kept(given, lines) == (("X-A", "1"), ("Cookie", "b=9; d=e=f"))
    assert cookies.kept((), ("a=1; max-age=0",)) == ()


@pytest.mark.parametrize(
    ("attributes", "is_kept"),
    [
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT", False),
        ("expires=Thu, 01-Jan-70 00:00:01 GMT; Path=/", False),
        ("Expires=Mon, 01 Jan 1601 00:00:00 GMT", False),
        ("Max-Age=-7; Expires=Fri, 01 Jan 2100 00:00:00 GMT", False),
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60", True),
        ("Expires=Fri, 01 Jan 2100 00:00:00 GMT", True),
        ("Expires=0", True),
        ("Max-Age=00", False),
        ("Max-Age=soon", True),
    ],
)
def test_a_cookie_that_has_ended_is_dropped(attributes: str, is_kept: bool) -> None:
    given = (("Cookie", "a=0"),)
    assert cookies.kept(given, (f"a=1; {attributes}",)) == ((("Cookie", "a=1"),) if is_kept else ())


def test_a_cookie_for_https_is_neither_sent_over_http_nor_taken_from_there() -> None:
    lines = ("a=1; Secure; Path=/", "b=2")
    way = HttpRequest(NAME, 443, https=True, headers=cookies.kept((), lines), secure=cookies.for_https((), lines))
    assert way.sent == (("Cookie", "a=1; b=2"),)
    assert replace(way, https=False).sent == (("Cookie", "b=2"),)
    assert cookies.taken(lines, https=False) == ["b=2"] and cookies.taken(lines, https=True) == list(lines)
    assert cookies.for_https(way.secure, ("a=3",)) == frozenset()
