"""The prediction as a pure function of records and tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.failover import predict, tables
from engines.failover.faults import FAULTS
from engines.failover.predict import PredictParams
from engines.failover.tables import Cell, Table
from engines.job.errors import BadParam
from engines.job.params import convert
from tests.engines.failover.stage import Stage

TWO = ("198.51.100.10", "203.0.113.20")


def cell(client: str, fault: str, seconds: float, **more: object) -> Cell:
    given = {"version": "1.0", "kind": "browser", "outcome": "moved", "date": "2026-01-01", "ladder": "linux"} | more
    return Cell(client=client, fault=fault, seconds=seconds, **given)  # type: ignore[arg-type]  keywords of one struct


def made(*cells: Cell) -> Table:
    return Table(title="made", date="2026-01-01", source="a test", cells=cells)


@given(st.integers(1, 60), st.sampled_from(["fixed", "rotating"]))
def test_the_shares_of_new_visitors_add_up(count: int, order: str) -> None:
    addresses = [f"192.0.2.{at}" for at in range(1, count + 1)]
    found, words = predict.shares(addresses, order)
    assert sum(share.share for share in found) == pytest.approx(1.0, abs=0.01)
    assert words


def test_a_fixed_order_sends_everybody_to_the_first() -> None:
    found, words = predict.shares(TWO, "fixed")
    assert [share.share for share in found] == [1.0, 0.0]
    assert TWO[0] in words


def test_an_order_that_was_not_seen_gives_no_shares() -> None:
    found, words = predict.shares(["2001:db8::1", "2001:db8::2"], "")
    assert found == ()
    assert "not known" in words


def test_a_rotating_order_sends_one_in_n_to_each() -> None:
    found, words = predict.shares([*TWO, "192.0.2.1"], "rotating")
    assert [share.share for share in found] == [pytest.approx(1 / 3, abs=0.001)] * 3
    assert "1 in 3" in words


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(FAULTS)), st.floats(0, 300)), max_size=20))
def test_no_client_gets_a_number_that_nobody_measured(found: list[tuple[str, str, float]]) -> None:
    table = made(*(cell(client, fault, seconds) for client, fault, seconds in found))
    measured = {(client, fault) for client, fault, _ in found}
    for fault in ("drop", "rst", "icmp", "hang", "503", "mid-session"):
        new_fault = "drop" if fault == "mid-session" else fault
        for told in predict.predict("shop.test", TWO, "fixed", fault, table).clients:
            assert (told.new is not None) == ((told.client, new_fault) in measured)
            if told.already is not None:
                assert (told.client, predict.WITHIN[fault]) in measured


def test_each_figure_names_its_version_ladder_and_date() -> None:
    table = made(cell("mosaic", "drop", 21.5, ladder="windows", ladder_seconds=21, runs=3))
    words = predict.table(predict.predict("shop.test", TWO, "fixed", "drop", table))
    assert "21.5 s" in words
    for origin in ("1.0", "windows (21 s)", "2026-01-01", "3 runs"):
        assert origin in words
    assert "not measured" in words  # the visitor who has the site open


def test_the_published_rows_stand_beside_the_measured_ones() -> None:
    published = tables.read(tables.PUBLISHED)
    told = predict.predict("shop.test", TWO, "fixed", "drop", tables.read(tables.MEASURED), published)
    rows = {(one.client, one.version): one.seconds for one in told.published}
    assert rows == {("Chrome", "75"): 30, ("Internet Explorer", "11"): 20, ("Firefox", "68"): 20, ("Edge", "17"): 8}
    assert "as published" in predict.table(told)


def test_the_shipped_table_has_an_origin_for_every_cell() -> None:
    table = tables.read(tables.MEASURED)
    assert table.cells
    for one in table.cells:
        assert one.fault in FAULTS
        assert one.date
        assert one.version
        assert one.ladder
    assert {"chromium", "firefox", "curl", "python"} <= {one.client for one in table.cells}


def test_a_table_survives_writing_and_reading(tmp_path: Path) -> None:
    table = made(cell("a", "drop", 1.5, note="yes: no, 'quoted' #"), cell("b", "rst", 0.25, reloads=2, gap=0.3))
    (tmp_path / "t.yaml").write_text(tables.dump(table))
    assert tables.read(tmp_path / "t.yaml") == table


@pytest.mark.parametrize("text", ["", "[]", "title: x", "{", "title: x\ndate: y\nsource: z\ncells: [{client: 1}]"])
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(BadParam) as refused:
        tables.read(tmp_path / "t.yaml")
    assert refused.value.name == "table"


def test_a_prediction_uses_this_sites_records(stage: Stage) -> None:
    server, at = stage.names("shop.test", TWO)
    told = predict.answer(convert(PredictParams, {"name": "shop.test", "resolver": [at]}))
    assert [share.share for share in told.shares] == [1.0, 0.0]
    server.turning = True
    told = predict.answer(convert(PredictParams, {"name": "shop.test", "resolver": [at]}))
    assert [share.share for share in told.shares] == [0.5, 0.5]
    assert predict.table(told)


def test_a_name_without_addresses_sends_nobody_anywhere(stage: Stage) -> None:
    at = stage.names("other.test", TWO)[1]
    told = predict.answer(convert(PredictParams, {"name": "shop.test", "resolver": [at]}))
    assert told.shares == ()
    assert any("no such name" in note for note in told.notes)


def test_one_address_never_has_seconds() -> None:
    told = predict.predict("shop.test", TWO[:1], "single", "drop", tables.read(tables.MEASURED))
    assert told.clients == ()
    assert told.published == ()
    words = predict.table(told)
    assert "waits for it to come back" in words
    assert " s, " not in words.split("Undo")[0]


def test_one_address_of_each_family_moves_those_who_have_both() -> None:
    told = predict.predict("shop.test", [TWO[0], "2001:db8::1"], "single", "drop", tables.read(tables.MEASURED))
    assert told.clients == ()
    assert any("visitors with IPv4 and IPv6 move" in note for note in told.notes)
    assert any("IPv4 only" in note for note in told.notes)


def test_one_address_per_answer_has_no_seconds_but_a_ttl(stage: Stage) -> None:
    server, at = stage.names("shop.test", TWO, ttl=300)
    server.single = True
    told = predict.answer(convert(PredictParams, {"name": "shop.test", "resolver": [at]}))
    assert told.clients == ()
    assert any("TTL (300 s)" in note for note in told.notes)


def test_a_prediction_is_for_one_resolvers_visitors_not_for_the_union(stage: Stage) -> None:
    stale, good = stage.names("shop.test", TWO[:1])[1], stage.names("shop.test", TWO)[1]
    told = predict.answer(convert(PredictParams, {"name": "shop.test", "resolver": [stale, good]}))
    assert [share.address for share in told.shares] == [TWO[0]]
    assert told.clients == ()
    assert any(f"--resolver {good}" in note for note in told.notes)


@pytest.mark.parametrize("count", [2, 3])
def test_a_lab_with_three_addresses_gives_cells_that_are_used(stage: Stage, tmp_path: Path, count: int) -> None:
    table = made(cell("a", "drop", 134.0, addresses=3), cell("b", "drop", 9.0, addresses=3), cell("b", "drop", 0.5))
    (tmp_path / "t.yaml").write_text(tables.dump(table))
    at = stage.names("shop.test", [*TWO, "192.0.2.1"][:count])[1]
    given = {"name": "shop.test", "resolver": [at], "table": str(tmp_path / "t.yaml")}
    told = predict.answer(convert(PredictParams, given))
    assert {one.client: one.new.seconds for one in told.clients if one.new} == {"a": 134.0, "b": 0.5}
    assert "2 of 3 addresses dark" in predict.table(told)
