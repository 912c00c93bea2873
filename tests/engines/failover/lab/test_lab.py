"""The lab with real clients on a ladder of 3 s, and with real browsers once."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.failover import tables
from engines.failover.faults import FAULTS
from engines.failover.lab import results
from engines.failover.lab.lab import Lab
from engines.failover.lab.lab_params import LabParams
from engines.failover.lab.measurement import Seen
from engines.failover.lab.registry import folder
from engines.failover.visitors.clients import GROUPS, catalogue
from engines.job import journal, runs
from engines.job.contract import AnyEvent, Cancel, Context, Finished, Measured, StepEnded, Warned
from engines.job.errors import BadParam, Stopped
from engines.job.jobfile import Job
from engines.job.params import convert, fields
from engines.job.perform import perform
from tests.agreed import AGREED

ROOT = Path(__file__).resolve().parents[4]


class Ran:
    """A lab that has run: its last word, its events, its rows."""

    def __init__(self, run: runs.Run, last: AnyEvent) -> None:
        assert isinstance(last, Finished), last
        self.run = run
        self.last = last
        self.labs = folder()
        self.events = [entry.event for entry in journal.entries(run.journal)]
        self.table = tables.read(run.folder / "table.yaml")
        self.rows = {(cell.client, cell.fault): cell for cell in self.table.cells}
        self.seen = results_of(run.folder)


def results_of(run: Path) -> list[Seen]:
    return [msgspec.json.decode(line, type=Seen) for line in (run / "results.jsonl").read_bytes().splitlines()]


def measured(**params: Any) -> Ran:
    run = runs.create(Job(task="failover", params=params), "lab on this machine")
    return Ran(run, perform(run, Lab(), confirm=AGREED))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that a whole module's runs share."""
    return tmp_path_factory.mktemp("state")


def measured_at(home: Path, **params: Any) -> Ran:
    """There, wherever the test that is the first to want it stands: its own folders end with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        return measured(**params)


@pytest.fixture(scope="module")
def short(home: Path) -> Ran:
    """Programs on a ladder of 3 s."""
    return measured_at(
        home,
        clients=["curl,python"],
        faults=["drop,rst,icmp,503,mid-session"],
        ladder="short",
        runs=1,
        cap=20,
        idle=["1"],
    )


@pytest.fixture(scope="module")
def browsers(home: Path) -> Ran:
    """Browsers and programs on this machine's own ladder, with a low cap."""
    faults = ["drop,rst,mid-session-rst"]
    return measured_at(home, clients=["chromium,firefox,curl,python"], faults=faults, runs=1, cap=12)


def test_a_blocking_client_moves_when_its_kernel_gives_up(short: Ran) -> None:
    for client in ("curl", "python"):
        row = short.rows[client, "drop"]
        assert row.outcome == "moved"
        assert row.gap is not None
        assert 3.0 <= row.gap < 20.0  # the ladder, and timers that fire late


def test_a_reset_moves_a_client_at_once(short: Ran) -> None:
    for client in ("curl", "python"):
        row = short.rows[client, "rst"]
        assert row.outcome == "moved"
        assert row.gap is not None
        (seen,) = (one for one in short.seen if (one.client, one.fault) == (client, "rst"))
        assert [letter for _, letter in seen.syns].count("A") == 1, seen  # the ladder would knock again


def test_nothing_moves_on_a_503(short: Ran) -> None:
    assert short.rows["curl", "503"].outcome == "stayed"
    assert short.rows["python", "503"].outcome == "error"


def test_a_client_that_opens_a_new_connection_each_time_says_so_mid_session(short: Ran) -> None:
    assert short.rows["curl", "mid-session"].outcome == "oneshot"


def test_a_client_that_is_not_installed_is_a_row_that_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("unshare", "sh", "mount", "ip", "nft", "curl"):
        found = shutil.which(name)
        assert found, name
        (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = measured(clients=["curl", "wget", "chromium"], faults=["rst"], ladder="short", runs=1, cap=20)
    wanted = {"wget": "not installed: apt-get install wget", "chromium": "not installed: apt-get install chromium"}
    assert ran.last.result["missing"] == wanted
    text = next(section.text for section in ran.last.sections if section.title == "Table")
    for name, why in wanted.items():
        assert any(line.split(maxsplit=1) == [name, why] for line in text.splitlines())
    assert list(ran.rows) == [("curl", "rst")]


def test_a_client_that_returns_after_a_while_meets_the_turned_order(short: Ran) -> None:
    back = {seen.client: seen for seen in short.seen if not seen.fault}
    assert back["curl"].first == "A"
    assert (back["curl"].letter, back["curl"].asked_again) == ("B", True)


def test_every_syn_is_told_live_before_the_result(short: Ran) -> None:
    live = [event.data for event in short.events if isinstance(event, Measured)]
    curl = [one for one in live if one["client"] == "curl" and one["fault"] == "drop"]
    assert [one["to"] for one in curl if "to" in one] == ["A", "A", "B"]
    assert "timeline" in curl[-1]


@pytest.mark.parametrize("which", ["short", "browsers"])
def test_our_timeline_agrees_with_tcpdumps(which: str, request: pytest.FixtureRequest) -> None:
    ran: Ran = request.getfixturevalue(which)
    pairs = [(seen.fault, seen.gap, seen.gap_tcpdump) for seen in ran.seen if seen.gap is not None]
    assert pairs
    apart: dict[str, list[float]] = {}
    for fault, ours, theirs in pairs:
        assert theirs is not None
        apart.setdefault(fault, []).append(abs(ours - theirs))
    assert all(min(each) < 2.0 for each in apart.values()), apart  # other packets would be apart for every client
    assert results.disagreement(ran.seen)[0] == len(pairs)


@pytest.mark.parametrize("which", ["short", "browsers"])
def test_a_lab_leaves_nothing_behind(which: str, request: pytest.FixtureRequest) -> None:
    ran: Ran = request.getfixturevalue(which)
    assert list(ran.labs.iterdir()) == []
    names = {made["net"] for made in made_by(ran.run.folder)}
    assert names
    left = {str(link.readlink()) for link in links()}
    assert not names & left - {str(Path("/proc/self/ns/net").readlink())}


def made_by(run: Path) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in (run / "namespaces.jsonl").read_text().splitlines()]


def links() -> list[Path]:
    return [link for link in Path("/proc").glob("[0-9]*/ns/net") if readable(link)]


def readable(link: Path) -> bool:
    try:
        link.readlink()
    except OSError:
        return False
    return True


def test_browsers_show_what_they_do(browsers: Ran) -> None:
    chromium, firefox = browsers.rows["chromium", "drop"], browsers.rows["firefox", "drop"]
    assert chromium.outcome == "moved"
    assert chromium.gap is not None
    assert chromium.gap < 12  # by itself: its kernel goes on knocking for longer than the cap
    assert chromium.seconds is not None
    assert chromium.seconds > chromium.gap
    assert firefox.outcome == "waiting"
    for client in ("chromium", "firefox"):
        assert browsers.rows[client, "rst"].outcome == "moved"
        assert browsers.rows[client, "mid-session-rst"].outcome == "moved"
    for client in ("curl", "python"):
        assert browsers.rows[client, "drop"].outcome == "waiting"
        assert browsers.rows[client, "drop"].seconds == 12


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"clients": ["mosaic"]}, "clients"),
        ({"faults": ["fire"]}, "faults"),
        ({"idle": ["soon"]}, "idle"),
        ({"idle": ["-1"]}, "idle"),
        ({"output": "/etc/hostname"}, "output"),
    ],
)
def test_bad_parameters_are_refused_by_name(given: dict[str, Any], name: str) -> None:
    with pytest.raises(BadParam) as refused:
        Lab().plan(convert(LabParams, given), Cancel())
    assert refused.value.name == name


def test_a_resumed_lab_measures_only_what_is_left(short: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(short.labs.parents[1]))
    job = short.run.job()
    again = runs.create(job, "lab on this machine", mode="resume", earlier=short.run.id)
    last = perform(again, Lab(), confirm=AGREED)
    assert isinstance(last, Finished), last
    assert not (again.folder / "namespaces.jsonl").exists()
    assert len(results_of(again.folder)) == len(short.seen)


def ended(short: Ran, output: Path, folder: Path, **how: bool) -> list[AnyEvent]:
    """The end of a lab whose measurements are all there; the last event is where it is stopped, with `stop`."""
    params = {**short.run.job().params, "output": str(output)}
    plan = msgspec.structs.replace(Lab().plan(convert(LabParams, params), Cancel()), params=convert(LabParams, params))
    folder.mkdir()
    if how.get("taken"):
        output.write_text("precious")
    if how.get("taken_by_a_folder"):
        output.mkdir()
    work = Lab().resume(plan, Context(folder=folder, cancel=Cancel(), earlier=short.run.folder))
    seen = []
    for event in work:
        seen.append(event)
        if how.get("stop") and event == StepEnded(step="table"):
            with pytest.raises(Stopped):
                work.throw(Stopped())
            break
    return seen


def test_a_table_is_written_where_it_was_told_to_and_replaces_nothing_that_came_since(
    short: Ran, tmp_path: Path
) -> None:
    output = tmp_path / "out.yaml"
    ended(short, output, tmp_path / "one")
    assert output.read_bytes() == (tmp_path / "one/table.yaml").read_bytes()
    output.unlink()
    ended(short, output, tmp_path / "two", stop=True)
    assert not output.exists()
    for number, how in enumerate(({"taken": True}, {"taken": True, "stop": True})):
        seen = ended(short, output, tmp_path / f"taken{number}", **how)
        told = [event.text for event in seen if isinstance(event, Warned)]
        assert f"{output} came since" in told[-1] and f"taken{number}/table.yaml" in told[-1]
        assert output.read_text() == "precious"
        output.unlink()
    seen = ended(short, output, tmp_path / "folder", taken_by_a_folder=True)
    assert any(f"{output} cannot be written" in event.text for event in seen if isinstance(event, Warned))
    made = {path.name for path in tmp_path.iterdir()} - {"xdg-state"}  # the home that every test has
    assert made == {"one", "two", "taken0", "taken1", "folder", "out.yaml"}
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.soak
def test_the_windows_ladder_gives_firefox_its_old_twenty_seconds() -> None:
    ran = measured(clients=["firefox", "python"], faults=["drop"], ladder="windows", runs=3, cap=60)
    for client in ("firefox", "python"):
        row = ran.rows[client, "drop"]
        assert row.outcome == "moved"
        assert row.gap is not None
        assert 20.0 <= row.gap <= 24.0


@pytest.mark.soak
def test_three_addresses_two_dead_make_chromium_wait_long() -> None:
    ran = measured(clients=["chromium"], faults=["drop"], addresses=3, runs=1, cap=150)
    row = ran.rows["chromium", "drop"]
    assert row.outcome == "moved"
    assert row.gap is not None
    assert row.gap > 100.0


@pytest.mark.soak
def test_the_seeds_table_within_three_minutes() -> None:
    import time

    began = time.monotonic()
    ran = measured(clients=["chromium,firefox,curl,python"], faults=["drop,rst"], cap=30)
    assert time.monotonic() - began < 180
    assert len(ran.rows) == 8


def test_the_words_under_the_fields_name_every_client_and_fault() -> None:
    known = {field.name: field.why for field in fields(LabParams)}
    for name in [*catalogue(), *GROUPS]:
        assert re.search(rf"\b{name}\b", known["clients"]), name
    for name in FAULTS:
        assert re.search(rf"\b{name}\b", known["faults"]), name
