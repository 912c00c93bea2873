"""The alert rules and the board that are shipped ask for metrics that there are, by labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from engines.fleet.morning.metrics import GAUGES

SHIPPED = Path(__file__).resolve().parents[4] / "packaging" / "prometheus"
ASKED = re.compile(r"crashcart_(\w+)(?:\{(\w+)=)?")


def test_rules_and_board_ask_for_metrics_that_are_written() -> None:
    rules = yaml.safe_load((SHIPPED / "crashcart.rules.yml").read_text())["groups"][0]["rules"]
    board = json.loads((SHIPPED / "crashcart-grafana.json").read_text())
    texts = [(rule["expr"], rule["annotations"]["summary"]) for rule in rules]
    texts += [(target["expr"], target["legendFormat"]) for panel in board["panels"] for target in panel["targets"]]
    assert len(texts) > 10
    for expression, words in texts:
        found = ASKED.findall(expression)
        assert found, expression
        for name, label in found:
            labels = GAUGES[name][1]
            assert not label or label in labels, (name, label)
            for shown in re.findall(r"\$labels\.(\w+)|\{\{(\w+)\}\}", words):
                assert "".join(shown) in labels, (expression, words)
