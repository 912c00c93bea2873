"""The lab over https: its own authority, HTTP/2, TLS that never answers, and the picture of it all."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from engines.failover.asking import probe
from engines.failover.asking.probe import Probed
from engines.failover.asking.site import SiteParams
from engines.failover.lab import authority, picture
from engines.failover.lab.copies import Copy
from engines.failover.lab.lab import Lab
from engines.failover.lab.lab_params import LabParams
from engines.failover.lab.measurement import Seen
from engines.job.contract import Cancel, Warned
from engines.job.errors import BadParam
from engines.job.params import convert
from engines.job.report import gather
from engines.job.web import page
from tests.engines.failover.lab.test_lab import Ran, measured, measured_at
from tests.engines.failover.stage import Stage
from tests.ports import free_port

NAME = "shop.test"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Programs over https on a ladder of 3 s."""
    return measured_at(
        tmp_path_factory.mktemp("state"),
        clients=["curl,python,wget"],
        faults=["drop,rst,tls-hang"],
        scheme="https",
        ladder="short",
        runs=1,
        cap=8,
    )


def test_clients_trust_the_labs_authority_and_move_as_over_http(secured: Ran) -> None:
    for client in ("curl", "python", "wget"):
        assert secured.rows[client, "rst"].outcome == "moved", secured.rows
        drop = secured.rows[client, "drop"]
        assert drop.outcome == "moved"
        assert drop.gap is not None
        assert 3.0 <= drop.gap < 20.0
    assert ", https, " in secured.table.source


def test_tls_that_never_answers_moves_nobody(secured: Ran) -> None:
    for client in ("curl", "python", "wget"):
        assert secured.rows[client, "tls-hang"].outcome == "waiting"


def test_the_report_shows_the_timelines_as_a_picture(secured: Ran) -> None:
    root = ET.fromstring((secured.run.folder / "timeline.svg").read_text())
    said = "".join(root.itertext())
    for words in ("curl drop 1", "python tls-hang 1", r"SYN to A at [0-9]", r"SYN to B at ([3-9]|1[0-9])\.", "page "):
        assert re.search(words, said), words
    assert "data:image/svg+xml;base64," in page(gather(secured.run), secured.run.folder)


def test_a_hostile_name_and_many_rows_make_a_picture_all_the_same() -> None:
    seen = [
        Seen(client="<b>&", fault="drop", run=run, outcome="moved", seconds=300.0, syns=((0.0, "A"), (299.0, "C")))
        for run in range(200)
    ]
    root = ET.fromstring(picture.svg(seen, "ABC"))
    assert "and 120 more" in "".join(root.itertext())
    assert picture.svg([], "AB").startswith("<svg")


def test_a_fault_of_tls_needs_https() -> None:
    with pytest.raises(BadParam) as refused:
        Lab().plan(convert(LabParams, {"faults": ["tls-hang"]}), Cancel())
    assert "--scheme https" in refused.value.what_helps


def test_a_client_that_is_missing_is_a_warning(secured: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shutil

    for name in ("unshare", "sh", "mount", "ip", "nft", "curl"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = measured(clients=["curl", "chromium"], faults=["rst"], ladder="short", runs=1, cap=8)
    warned = [event.text for event in ran.events if isinstance(event, Warned)]
    assert any(text.startswith("chromium was not measured: not installed") for text in warned)


def asked(stage: Stage, port: int, paper: authority.Paper, timeout: int = 20) -> Probed:
    at = stage.names(NAME, ["127.0.0.2"])[1]
    given = {"name": NAME, "resolver": [at], "port": port, "timeout": timeout, "ca_file": str(paper.ca)}
    return probe.answer(convert(SiteParams, given))


def test_a_copy_speaks_http_2_to_who_asks_for_it(stage: Stage, tmp_path: Path) -> None:
    paper, port = authority.issued(tmp_path, NAME), free_port()
    stage.do(Copy("A", paper.context()).serve("127.0.0.2", port))
    (light,) = asked(stage, port, paper).lights
    assert (light.state, light.version, light.title) == ("ok", "2", "a shop"), light


@pytest.mark.parametrize(
    ("mode", "state"),
    [("tls-hang", "tls-hang"), ("hang", "hang"), ("503", "5xx"), ("close", "tls-error"), ("reset", "reset tls-error")],
)
def test_its_manners_have_names_over_tls_too(stage: Stage, tmp_path: Path, mode: str, state: str) -> None:
    paper = authority.issued(tmp_path, NAME)
    copy, port = Copy("A", paper.context()), free_port()
    copy.mode = mode
    stage.do(copy.serve("127.0.0.2", port))
    (light,) = asked(stage, port, paper, 2 if "hang" in mode else 20).lights
    assert light.state in state.split(), light  # a reset may come before the greeting or in it
