"""What a board's pages hold is looked through in one pass, whoever made them."""

from __future__ import annotations

import pytest

from engines.biosiso.bmc.aten.session import LIMIT, Session, _sid
from engines.biosiso.bmc.connection import Door
from tests.fuzz.mutation import with_an_end


@pytest.mark.parametrize("piece", ["<", "<a", "< >", "&<"])
def test_a_page_of_tags_that_never_end_costs_one_pass(piece: str) -> None:
    session = Session(Door(host="127.0.0.1", port=1))
    with with_an_end():
        assert len(session.said(piece * (LIMIT // len(piece)))) <= 160


def test_tags_go_and_words_stay() -> None:
    assert Session(Door(host="127.0.0.1", port=1)).said("<b>VMCOMCODE</b> <i x='1'>=001</i>") == "VMCOMCODE =001"


def test_a_cookie_without_an_end_is_looked_at_as_far_as_cookies_go() -> None:
    with with_an_end():
        assert _sid(("SID=x; " + "expires=" * 8000,) * 50) == "x"
