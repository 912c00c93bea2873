"""The watch: changes with durations, outages, and no growth."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from engines.failover.asking import telling
from engines.failover.asking.address import AddressCheck
from engines.failover.asking.dns_answer import Answer
from engines.failover.asking.ledger import TAIL, Spell, Watching, span
from engines.failover.asking.records import Records, View
from engines.failover.asking.telling import Hooks, Page, served
from engines.failover.asking.watch import InDns, Watch, WatchParams
from engines.job import journal, runs
from engines.job.contract import Cancel, Context, Finished, Log, Measured, Warned
from engines.job.errors import BadParam, Refused, Stopped
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert
from engines.job.perform import Stop, perform
from tests.agreed import AGREED
from tests.engines.failover.stage import Stage
from tests.ports import free_port

NAME = "shop.test"


def light(address: str, state: str) -> AddressCheck:
    return AddressCheck(address=address, state=state)


def test_a_change_is_told_with_how_long_the_state_before_lasted() -> None:
    watching = Watching(1000.0)
    seen = [list(watching.take([light("a", state), light("b", "ok")], at)) for state, at in
            (("ok", 1000.0), ("ok", 1002.0), ("drop", 1004.0), ("drop", 1010.0), ("ok", 1016.5))]  # fmt: skip
    assert seen[1] == seen[3] == []
    assert "4.0 s" in seen[2][0]
    assert "12.5 s" in seen[4][0]
    spell = watching.spells["a"]
    assert (spell.outage(1020.0), spell.first_down, spell.last_back) == (12.5, 1004.0, 1016.5)
    assert watching.outage(1020.0) == 0.0


def test_a_watch_that_is_stopped_as_it_tells_a_change_has_all_changes_of_that_look(
    stage: Stage, tmp_path: Path
) -> None:
    at = stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1]
    given = {"name": NAME, "resolver": at, "scheme": "http", "port": free_port(), "timeout": 20}
    params = convert(WatchParams, given)
    plan = msgspec.structs.replace(Watch().plan(params, Cancel()), params=params)
    work = Watch().execute(plan, Context(folder=tmp_path, cancel=Cancel()))
    first = next(event for event in work if isinstance(event, Log))
    rest = [work.throw(Stopped()), *work]
    told = rest[-1]
    assert isinstance(told, Finished)
    changes = next(section.text for section in told.sections if section.title.startswith("Changes")).splitlines()
    assert changes[0] == first.text and changes == (tmp_path / "watch.log").read_text().splitlines()
    for word in ("127.0.0.2: ", "127.0.0.3: ", "the site is down"):
        assert any(word in line for line in changes), changes


def test_who_answered_and_then_wants_a_certificate_is_lost() -> None:
    watching = Watching(0.0)
    for at, a, b in ((1.0, "ok", "client-cert"), (2.0, "client-cert", "client-cert"), (5.0, "ok", "client-cert")):
        said = list(watching.take([light("a", a), light("b", b)], at))
    assert "the site is back after 3.0 s" in said and watching.outage(9.0) == 3.0
    a, b = watching.spells.values()
    assert (a.outage(9.0), a.first_down, a.last_back) == (3.0, 2.0, 5.0)
    assert (b.outage(9.0), b.first_down) == (0.0, 0.0)


def test_who_wanted_a_certificate_until_the_first_answer_was_not_lost() -> None:
    spell = Spell("client-cert", 0.0)
    spell.take("ok", 1000.0)
    assert (spell.outage(1000.0), spell.last_back, spell.first_down) == (0.0, 0.0, 0.0)


def test_the_sites_own_outage_counts_only_while_no_address_answers() -> None:
    watching = Watching(0.0)
    for at, a, b in ((1.0, "ok", "ok"), (2.0, "drop", "ok"), (3.0, "drop", "refused"), (7.0, "drop", "ok")):
        said = list(watching.take([light("a", a), light("b", b)], at))
    assert "the site is back after 4.0 s" in said
    assert watching.outage(100.0) == 4.0
    assert watching.spells["a"].outage(100.0) == 98.0


def test_hours_of_flapping_addresses_take_no_more_memory_than_minutes() -> None:
    watching = Watching(0.0)

    def hours(looks: range) -> None:
        for at in looks:
            state = "ok" if at % 2 else "drop"
            for line in watching.take([light("a", state), light(f"moving-{at}", "ok")], float(at)):
                watching.changes.append(line)
            watching.forget({"a", f"moving-{at}"}, float(at))

    tracemalloc.start()
    hours(range(2000))
    before = tracemalloc.get_traced_memory()[0]
    hours(range(2000, 20000))  # ten hours at 2 s
    assert tracemalloc.get_traced_memory()[0] < before + 100_000  # bytes
    tracemalloc.stop()
    assert len(watching.changes) <= TAIL


def test_a_watch_tells_each_change_and_ends_well_when_it_is_stopped(stage: Stage) -> None:
    copies, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    at = stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1]
    params: dict[str, Any] = {"name": NAME, "resolver": [at], "scheme": "http", "port": port, "interval": 1}
    run = runs.create(Job(task="failover-watch", params=params), NAME)
    stop = Stop()
    lights: list[Measured] = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Measured):
            lights.append(entry.event)

    def scene() -> None:
        for mode, waited_for in (("well", "ok"), ("503", "5xx"), ("well", "ok")):
            copies[0].mode = mode
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                shown = lights[-1].data["addresses"] if lights else []
                if shown and shown[0]["state"] == waited_for:
                    break
                time.sleep(0.1)
        stop.ask()

    acting = threading.Thread(target=scene)
    acting.start()
    last = perform(run, Watch(), stop=stop, listen=listen, confirm=AGREED)
    acting.join()
    assert isinstance(last, Finished), last
    first = last.result["addresses"][0]
    assert first["address"] == "127.0.0.2"
    assert first["outage"] > 0
    assert first["changes"] == 2
    assert last.result["outage"] == 0
    told = [entry.event.text for entry in journal.entries(run.journal) if isinstance(entry.event, Log)]
    assert any("server error" in line and "lasted" in line for line in told)
    assert any("server error" in line for line in (run.folder / "watch.log").read_text().splitlines())


def test_a_name_without_addresses_is_refused_before_the_maintenance(stage: Stage) -> None:
    at = stage.names("other.test", ["127.0.0.2"])[1]
    with pytest.raises(Refused) as refused:
        Watch().plan(convert(WatchParams, {"name": NAME, "resolver": [at]}), Cancel())
    assert "no such name" in refused.value.why
    assert refused.value.what_helps


def test_durations_are_said_as_people_say_them() -> None:
    assert [span(seconds) for seconds in (3.24, 250.0, 7500.0)] == ["3.2 s", "4 min 10 s", "2 h 5 min"]


def test_an_address_that_left_dns_stops_counting() -> None:
    watching = Watching(0.0)
    list(watching.take([light("a", "drop"), light("b", "ok")], 1.0))
    watching.forget({"b"}, 11.0)
    list(watching.take([light("b", "ok")], 12.0))
    assert watching.spells["a"].state == "gone"
    assert watching.spells["a"].outage(500.0) == 10.0
    list(watching.take([light("a", "drop"), light("b", "ok")], 600.0))
    assert watching.spells["a"].outage(605.0) == 15.0


def test_what_cannot_be_reached_from_here_is_no_outage() -> None:
    watching = Watching(0.0)
    assert [line for line in watching.take([light("a", "no-route")], 1.0) if "site is down" in line] == []
    assert watching.outage(100.0) == watching.spells["a"].outage(100.0) == 0.0


class Heard(http.server.BaseHTTPRequestHandler):
    told: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_prometheus_a_command_and_a_url_are_told_of_each_change(stage: Stage, tmp_path: Path) -> None:
    copies, port = stage.copies(["127.0.0.2", "127.0.0.3"])
    at = stage.names(NAME, ["127.0.0.2", "127.0.0.3"])[1]
    hook, metrics, listen = http.server.HTTPServer(("127.0.0.1", 0), Heard), tmp_path / "shop.prom", free_port()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    Heard.told.clear()
    params: dict[str, Any] = {
        "name": NAME, "resolver": [at], "scheme": "http", "port": port, "interval": 1, "metrics": str(metrics),
        "metrics_listen": str(listen), "on_change_url": f"http://127.0.0.1:{hook.server_port}/x",
        "on_change": f'printf "%s: %s\\n" "$CRASHCART_NAME" "$CRASHCART_CHANGE" >> {tmp_path}/changes; false',
    }  # fmt: skip
    run = runs.create(Job(task="failover-watch", params=params), NAME)
    stop, scraped = Stop(), list[str]()

    def scene() -> None:
        wait_for(lambda: 'address="127.0.0.2"} 1' in (metrics.read_text() if metrics.exists() else ""))
        copies[0].mode = "503"
        wait_for(lambda: 'address="127.0.0.2",state="5xx"} 1' in metrics.read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{listen}/metrics") as answer:
            scraped.append(answer.read().decode())
        wait_for(lambda: Heard.told)
        stop.ask()

    acting = threading.Thread(target=scene)
    acting.start()
    last = perform(run, Watch(), stop=stop, confirm=AGREED)
    acting.join()
    hook.shutdown()
    hook.server_close()
    assert isinstance(last, Finished), last
    assert 'crashcart_site_up{site="shop.test"} 1' in scraped[0]
    assert 'crashcart_address_up{site="shop.test",address="127.0.0.2"} 0' in scraped[0]
    assert [change["name"] for change in Heard.told] == [NAME]
    assert "server error" in Heard.told[0]["changes"][0]
    assert (tmp_path / "changes").read_text().startswith("shop.test: 127.0.0.2: answers with a server error")
    assert any(isinstance(entry.event, Warned) and "exit code 1" in entry.event.text
               for entry in journal.entries(run.journal))  # fmt: skip


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.parametrize("host", ["", "127.0.0.1:", "[::1]:"])
def test_metrics_are_served_at_any_address_of_this_machine(host: str) -> None:
    page, port = Page(), free_port()
    page.text = "crashcart_looks_total 7\n"
    with served(f"{host}{port}", page):
        for path, code in (("/metrics?x=1", 200), ("/", 404)):
            line = http.client.HTTPConnection("::1" if "::1" in host else "127.0.0.1", port, timeout=60)
            line.request("GET", path)
            answer = line.getresponse()
            assert (answer.status, answer.read()) == (code, page.text.encode())
        with pytest.raises(Refused, match="cannot listen"), served(f"{host}{port}", page):
            pass


def test_what_a_command_or_url_makes_of_a_change_is_told_and_holds_nothing_up() -> None:
    hooks = Hooks("printf 'no room' >&2; exit 3", f"http://127.0.0.1:{free_port()}/nobody")
    for number in range(3):
        hooks.tell({"name": NAME, "changes": [f'it\'s {number} "quoted" $(false)'], "verdict": "no"})
    hooks.close()
    told = hooks.trouble()
    assert sum("exit code 3 no room" in line for line in told) == 3
    assert sum("refused" in line for line in told) == 3


def test_a_url_that_cannot_be_asked_for_is_told_of_each_change() -> None:
    hooks = Hooks("", f"http://127.0.0.1:{free_port()}/a b")
    for _ in range(3):
        hooks.tell({"name": NAME, "changes": ["x"], "verdict": "no"})
    hooks.close()
    assert sum("control characters" in line for line in hooks.trouble()) == 3


def test_metrics_never_take_the_place_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no file"):
        telling.put(str(tmp_path / "pipe"), "new")
    assert (tmp_path / "pipe").is_fifo() and [*tmp_path.iterdir()] == [tmp_path / "pipe"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"metrics": "/nowhere/x.prom"}, "metrics"),
        ({"metrics": "/dev/null"}, "metrics"),
        ({"metrics_listen": "nine"}, "metrics_listen"),
        ({"on_change_url": "file:///etc/passwd"}, "on_change_url"),
        ({"on_change_url": "http://[x/"}, "on_change_url"),
    ],
)
def test_what_cannot_be_told_is_refused_beforehand(given: dict[str, str], name: str) -> None:
    with pytest.raises(BadParam) as refused:
        Watch().plan(convert(WatchParams, {"name": NAME, "resolver": ["127.0.0.1:1"]} | given), Cancel())
    assert refused.value.name == name


def given(*offers: tuple[str, ...]) -> Records:
    answers = tuple(Answer(kind=kind, state="ok", order=offers[0]) for kind in ("A", "AAAA"))
    addresses = tuple(dict.fromkeys(one for offer in offers for one in offer))
    view = View(server="s", role="resolver", order="", answers=answers, offers={"A": offers})
    return Records(
        name=NAME, state="ok" if addresses else "timeout", addresses=addresses, order="", ttl=1, views=(view,)
    )


def test_what_dns_gives_in_parts_does_not_come_and_go() -> None:
    dns = InDns()
    assert dns.take(given(("a",), ("b",))) == []
    assert dns.take(given(("b",), ("c",))) == ["DNS: c is new"]
    assert set(dns.addresses) == {"a", "b", "c"}
    assert dns.take(given(("b", "c"))) == ["DNS: a is gone"]
    assert dns.take(given(())) == ["DNS gives no address now: timeout"]
    assert set(dns.addresses) == {"b", "c"}


def test_a_link_beside_the_metrics_leads_nowhere(tmp_path: Path) -> None:
    """Their folder is often the collector's, who is not root, and whose links the kernel follows there."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    for name in ("shop.prom", f"shop.prom.{os.getpid()}.tmp"):
        (tmp_path / name).symlink_to(victim)
    telling.put(str(tmp_path / "shop.prom"), "new")
    assert victim.read_text() == "kept"
    assert (tmp_path / "shop.prom").read_text() == "new" and not (tmp_path / "shop.prom").is_symlink()
