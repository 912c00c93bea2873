"""Notices: once a night and once a change, kept where nobody takes them; metrics and the night's page say the same."""

from __future__ import annotations

import os
import socket
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engines.fleet.config.load import parsed
from engines.fleet.config.model import Alert, AlertTo
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job, key
from engines.fleet.morning import metrics, night, page, picture
from engines.fleet.morning.notices import Memory, compose
from engines.fleet.morning.standing import Light, Row, Standing, Stored
from engines.fleet.morning.telling import rehearse, tell
from engines.job.errors import Refused

NOW = 1_800_000_000.0
NASTY = 'web"<b>`|\n*1'


def row(light: Light, name: str = "web1", age: float | None = 3600.0) -> Row:
    good = None if age is None else NOW - age
    return Row(name=name, uuid=f"u-{name}", vm=name, host="hv1", policy="gold", light=light, good=good, age=age,
               late_after=7200, why="" if light == "good" else "disk full")  # fmt: skip


def standing(*rows: Row, at: float = NOW) -> Standing:
    return Standing(at=at, rows=rows, repositories=(Stored(name="near", url="/r", bytes=5, gc=NOW - 60.0),))


def fleet_text(alerts: str = "[]") -> bytes:
    return f"""
hosts: {{hv1: {{ssh: local}}}}
repositories: {{near: {{url: /r}}}}
policies: {{gold: {{to: [near]}}}}
guests: [{{match: all, policy: gold}}]
alerts: {alerts}
""".encode()


# ── who is told ──


def test_one_notice_a_night_and_each_change_once() -> None:
    alerts, memory = [Alert(to=AlertTo(apprise_file="ops"), quiet="4h")], Memory()

    def titles(stand: Standing, night_: str) -> list[str]:
        return [notice.title for notice in compose(alerts, stand, night_, memory)]

    assert titles(standing(row("good")), "2026-11-29") == ["crashcart: 1 guest: 1 good"]
    assert titles(standing(row("good")), "2026-11-29") == []
    assert titles(standing(row("failed"), at=NOW + 60), "2026-11-29") == ["crashcart: web1 is failed"]
    assert titles(standing(row("failed"), at=NOW + 120), "2026-11-29") == []
    assert titles(standing(row("good"), at=NOW + 180), "2026-11-29") == ["crashcart: web1 is good"]
    assert titles(standing(row("failed"), at=NOW + 240), "2026-11-29") == []  # it flaps: quiet
    assert titles(standing(row("failed"), at=NOW + 3 * 3600), "2026-11-29") == []
    assert titles(standing(row("failed"), at=NOW + 5 * 3600), "2026-11-29") == ["crashcart: web1 is failed"]  # it stays
    assert titles(standing(row("late"), at=NOW + 9 * 3600), "2026-11-29") == ["crashcart: web1 is late"]
    assert titles(standing(row("late"), at=NOW + 13 * 3600), "2026-11-30") == ["crashcart: 1 guest: 1 late"]


def test_each_target_is_told_by_what_it_knows_itself() -> None:
    quick, slow = (Alert(to=AlertTo(apprise_file=file), quiet=quiet) for file, quiet in (("ops", "1m"), ("boss", "1d")))
    memory = Memory(nights={"ops": "n", "boss": "n"})

    def told(light: Light, after: float) -> list[str]:
        return [notice.to for notice in compose([quick, slow], standing(row(light), at=NOW + after), "n", memory)]

    assert told("good", 0) == []
    assert told("failed", 60) == ["ops", "boss"]
    assert told("late", 180) == ["ops"]  # the other is held
    assert told("late", 240) == []
    assert told("failed", 360) == ["ops"]  # and is as the other knows it
    assert told("late", 2 * 86400) == ["ops", "boss"]
    twice = [quick, Alert(to=AlertTo(apprise_file="ops"), quiet="1d")]
    assert len(compose(twice, standing(row("uncovered"), at=NOW + 3 * 86400), "n", memory)) == 1


def test_only_what_somebody_wants_to_know() -> None:
    memory = Memory(nights={"ops": "n"})
    failed_only = msgspec.convert({"match": {"severity": ["failed"]}, "to": {"apprise_file": "ops"}}, Alert)
    assert compose([failed_only], standing(row("late")), "n", memory) == []
    (notice,) = compose([failed_only], standing(row("failed")), "n", memory)
    assert "web1 on hv1 is failed: disk full" in notice.body


def test_what_a_host_answers_adds_no_line_to_a_notice_and_no_escape() -> None:
    evil = msgspec.structs.replace(row("failed", "a\nb"), why="full\nweb2 on hv1 is good\x1b[2J" + "x" * 100_000)
    (notice,) = compose([Alert(to=AlertTo(apprise_file="ops"))], standing(evil), "n", Memory())
    assert len(notice.body.split("\n")) == 2 and len(notice.body) < 3000
    assert (notice.title + notice.body).replace("\n", "").isprintable()


# ── and that it gets there ──


class Desk(ThreadingHTTPServer):
    """A service that takes notices: refuses while `closed`, and keeps what it took."""

    closed = True
    taken: list[tuple[str, bytes]]


class Answer(BaseHTTPRequestHandler):
    server: Desk

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.closed:
            self.server.taken.append((self.path, body))
        self.send_response(500 if self.server.closed else 200)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.taken.append((self.path, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def desk() -> Iterator[Desk]:
    server = Desk(("127.0.0.1", 0), Answer)
    server.taken = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_notice_waits_until_somebody_takes_it_and_a_whole_round_calls_the_ping(tmp_path: Path) -> None:
    with desk() as service, Ledger(tmp_path / "ledger.sqlite") as ledger:
        port = service.server_port
        (tmp_path / "ops").write_text(f"# the night desk\njson://127.0.0.1:{port}/ops\n")
        (tmp_path / "ping").write_text(f"http://127.0.0.1:{port}/ping\n")
        fleet = parsed(fleet_text(f"[{{to: {{apprise_file: {tmp_path}/ops}}}}, {{ping_file: {tmp_path}/ping}}]"))
        said = list(tell(fleet, ledger, standing(row("failed")), "2026-11-29", whole=False))
        assert len(said) == 1 and "tried again after the next round" in said[0]
        assert service.taken == []
        service.closed = False
        assert list(tell(fleet, ledger, standing(row("failed"), at=NOW + 60), "2026-11-29", whole=True)) == []
        assert [path for path, _ in service.taken] == ["/ops", "/ping"]
        assert b"web1 on hv1 is failed: disk full" in service.taken[0][1]
        assert list(tell(fleet, ledger, standing(row("failed"), at=NOW + 90), "2026-11-29", whole=False)) == []
        assert len(service.taken) == 2


def test_a_service_that_shows_html_is_given_names_and_no_tags(tmp_path: Path) -> None:
    with desk() as service, Ledger(tmp_path / "ledger.sqlite") as ledger:
        service.closed = False
        (tmp_path / "ops").write_text(f"json://127.0.0.1:{service.server_port}/ops?format=html\n")
        fleet = parsed(fleet_text(f"[{{to: {{apprise_file: {tmp_path}/ops}}}}]"))
        assert list(tell(fleet, ledger, standing(row("failed", NASTY)), "2026-11-29", whole=False)) == []
        ((_, body),) = service.taken
        assert b"&lt;b&gt;" in body and b"<b>" not in body


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    (tmp_path / "ping").write_text("file:///etc/passwd\n")
    alerts = f"[{{to: {{apprise_file: {tmp_path}/none}}}}, {{ping_file: {tmp_path}/ping}}]"
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        said = list(tell(parsed(fleet_text(alerts)), ledger, standing(row("good")), "n", whole=True))
    assert any("none cannot be read" in line for line in said) and any("http or https" in line for line in said), said


@contextmanager
def garbler() -> Iterator[int]:
    """The port of something that speaks no HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            line, _ = server.accept()
            with line:
                line.recv(65536)
                line.sendall(b"who is there?\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with suppress(OSError):  # where nobody came
                socket.create_connection(server.getsockname()).close()
            thread.join()


def test_a_ping_that_is_no_address_or_no_web_server_is_said_and_ends_no_round(tmp_path: Path) -> None:
    odd = ["http://127.0.0.1/a b", "http://127.0.0.1/\u00e4", "http://[::1/", "http://127.0.0.1:99999/", "http://:80/"]
    files = [tmp_path / f"ping{number}" for number in range(len(odd) + 1)]
    with garbler() as port, Ledger(tmp_path / "ledger.sqlite") as ledger:
        for file, line in zip(files, [*odd, f"http://127.0.0.1:{port}/secret"], strict=True):
            file.write_text(f"{line}\n")
        fleet = parsed(fleet_text(f"[{', '.join(f'{{ping_file: {file}}}' for file in files)}]"))
        said = list(tell(fleet, ledger, standing(row("good")), "n", whole=True))
    assert len(said) == len(files) and all("no http or https address" in line for line in said[:-1]), said
    assert "does not answer as a web server" in said[-1] and "secret" not in said[-1]
    assert all(why for _, why in list(rehearse(fleet))[:-1])


def test_metrics_never_take_the_place_of_a_pipe_or_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="and no file"):
        metrics.write("x 1\n", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    metrics.write("x 1\n", tmp_path / "x.prom")
    assert (tmp_path / "x.prom").read_text() == "x 1\n"


def test_addresses_are_tried_without_writing_to_anybody(tmp_path: Path) -> None:
    with desk() as service:
        service.closed = False
        (tmp_path / "ops").write_text(f"json://127.0.0.1:{service.server_port}/ops\n")
        (tmp_path / "ping").write_text(f"http://127.0.0.1:{service.server_port}/ping\n")
        (tmp_path / "odd").write_text("nosuch://x\n")
        (tmp_path / "empty").write_text("# nobody yet\n")
        to = [f"{{to: {{apprise_file: {tmp_path}/{name}}}}}" for name in ("ops", "odd", "empty", "none")]
        pings = [f"{{ping_file: {tmp_path}/{name}}}" for name in ("ping", "odd")]
        found = list(rehearse(parsed(fleet_text(f"[{', '.join([*to, *pings])}]"))))
        assert service.taken == []
    assert [(Path(file).name, bool(why)) for file, why in found] == [
        ("ops", False), ("odd", True), ("empty", True), ("none", True), ("ping", False), ("odd", True),
    ]  # fmt: skip


# ── the page and the metrics ──


def test_the_night_is_a_page_a_picture_and_metrics_whatever_guests_are_called(tmp_path: Path) -> None:
    fleet = parsed(fleet_text())
    stand = standing(row("failed", NASTY), row("good"), row("late", "db", None))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for number, state in enumerate(("done", "failed", "running")):
            ended = None if state == "running" else NOW - 1000.0 + 100 * number
            ledger.keep(Job(key=key("backup", "2026-11-29", f"u-{number}", "near"), round="2026-11-29", kind="backup",
                            uuid="u-web1" if state == "done" else f"u-{number}", vm=NASTY, host="hv1",
                            repository="near", state=state, started=NOW - 2000.0, ended=ended,
                            why="" if state == "done" else "disk <full>", read=7, stored=3))  # fmt: skip
        told = night.gather(fleet, ledger, stand)
        text = metrics.text(fleet, ledger, stand)
        old = night.gather(fleet, ledger, stand, "2020-01-01")
    assert (len(told.jobs), told.read, old.jobs) == (3, 21, ())
    said = night.markdown(told)
    assert "1 of 3 jobs ended well" in said and "3 guests: 1 failed, 1 late, 1 good" in said
    assert NASTY not in said
    drawn = ElementTree.fromstring(picture.svg(told))
    assert len([one for one in drawn.iter() if one.tag.endswith("rect")]) == 4  # its ground and a bar a job
    html = page.page(told)
    assert "<b>" not in html.replace("</b>", "") and "<svg" in html
    found = {sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["crashcart_backup_last_success_timestamp_seconds"].value == NOW - 3600.0
    assert found["crashcart_backup_late"].labels["guest"] == "db" and found["crashcart_backup_late"].value == 1
    assert found["crashcart_backup_bytes_read"].value == 7
    assert found["crashcart_repository_last_gc_timestamp_seconds"].value == NOW - 60.0
    assert found["crashcart_host_silent"].value == 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        odd = msgspec.structs.replace(stand, silent={"hv1": "no route"}, emptied={"hv1": "hv1 shows no guest"})
        quiet = metrics.text(fleet, ledger, odd)
        told = night.gather(fleet, ledger, odd)
    assert 'crashcart_host_silent{host="hv1"} 1.0' in quiet and 'crashcart_host_emptied{host="hv1"} 1.0' in quiet
    assert "## Hosts without a guest" in night.markdown(told)
    (notice,) = compose([Alert(to=AlertTo(apprise_file="ops"))], odd, "n", Memory())
    assert "hv1 shows no guest" in notice.body
