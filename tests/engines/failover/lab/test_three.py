"""A lab of three addresses, two of them dark, gives a table that a prediction takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.failover import predict
from engines.failover.predict import PredictParams
from engines.job.params import convert
from tests.engines.failover.lab.test_lab import measured
from tests.engines.failover.stage import Stage

THREE = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_a_table_of_three_addresses_is_one_that_a_prediction_takes(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    table = tmp_path / "three.yaml"
    ran = measured(
        clients=["python"], faults=["drop,rst"], addresses=3, ladder="short", runs=1, cap=120, output=str(table)
    )
    cell = ran.rows["python", "drop"]
    assert cell.outcome == "moved" and cell.addresses == 3
    assert cell.gap is not None and cell.gap >= 6.0  # two ladders, one after the other
    for count in (2, 3):
        at = stage.names("shop.test", THREE[:count])[1]
        told = predict.answer(convert(PredictParams, {"name": "shop.test", "resolver": [at], "table": str(table)}))
        assert [(one.client, one.new and one.new.seconds) for one in told.clients] == [("python", cell.seconds)]
        words = predict.table(told)
        assert "2 of 3 addresses dark" in words
        assert "measured with two addresses, one dark" not in words
