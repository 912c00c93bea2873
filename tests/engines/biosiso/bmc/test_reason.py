"""A BMC's refusal is put into words, in whichever form it gives it."""

from __future__ import annotations

from typing import Any

import pytest

from engines.biosiso.bmc.reason import _told, reason


@pytest.mark.parametrize(
    ("words", "args", "said"),
    [
        ("%10 of %1, %2", [str(at) for at in range(1, 11)], "10 of 1, 2 (3, 4, 5, 6, 7, 8, 9)"),
        ("%1 is 5%", ["A%2", "b"], "A%2 is 5% (b)"),
        ("no %3 and %0 here", ["x"], "no %3 and %0 here (x)"),
    ],
)
def test_each_argument_stands_where_a_message_has_its_number(words: str, args: list[str], said: str) -> None:
    assert _told({"Message": words, "MessageArgs": args}) == said


@pytest.mark.parametrize(
    "tree",
    [
        {"error": {"message": "no licence"}},
        {"error": {"@Message.ExtendedInfo": {"Message": "no licence"}}},
        {"@Message.ExtendedInfo": [None, {"Message": "no licence"}]},
        {"error": "no licence", "cc": 7},
        "no licence",
    ],
)
def test_a_refusal_is_heard_in_every_form(tree: Any) -> None:
    assert reason(tree) == "no licence"
