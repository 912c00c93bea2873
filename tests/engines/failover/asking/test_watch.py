"""The watch: changes with durations, outages, and no growth."""

from __future__ import annotations

import threading
import time
import tracemalloc
from typing import Any

import pytest

from engines.failover.asking.address import AddressCheck
from engines.failover.asking.watch import TAIL, Watch, Watching, WatchParams, span
from engines.job import journal, runs
from engines.job.contract import Cancel, Finished, Log, Measured
from engines.job.errors import Refused
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert
from engines.job.perform import Stop, perform
from tests.agreed import AGREED
from tests.engines.failover.stage import Stage

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
