"""WebKitGTK in the lab: a row that says how to install it, or a row that is measured."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from engines.failover.visitors.clients import catalogue
from tests.engines.failover.lab.test_lab import Ran, links, made_by, measured

INSTALL = "not installed: apt-get install webkit2gtk-driver xvfb dbus"
NEEDED = ("unshare", "sh", "mount", "ip", "nft", "curl")


def only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH that leads to what the lab and curl need."""
    for name in NEEDED:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))


def test_without_webkit_its_row_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(tmp_path, monkeypatch)
    ran = measured(clients=["webkit", "curl"], faults=["rst"], ladder="short", runs=1, cap=20)
    assert ran.last.result["missing"] == {"webkit": INSTALL}
    text = next(section.text for section in ran.last.sections if section.title == "Table")
    assert any(line.split(maxsplit=1) == ["webkit", INSTALL] for line in text.splitlines())
    assert list(ran.rows) == [("curl", "rst")]


@pytest.mark.parametrize("lacking", ["WebKitWebDriver", "Xvfb", "dbus-run-session"])
def test_webkit_without_one_of_its_programs_is_not_installed(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {name: tmp_path / name for name in ("WebKitWebDriver", "Xvfb", "dbus-run-session")}
    for place in places.values():
        place.write_text("#!/bin/sh\n")
        place.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert catalogue()["webkit"].missing() == ""
    places[lacking].unlink()
    assert catalogue()["webkit"].missing() == INSTALL
    assert catalogue()["webkit"].found_version() == ""


def installed() -> None:
    """Its packages are large and come with make soak only."""
    if why := catalogue()["webkit"].missing():
        pytest.fail(f"WebKitGTK is {why}")


@pytest.fixture(scope="module")
def webkit(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    installed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        faults = ["drop,rst,reset,hang,mid-session,mid-session-rst"]
        return measured(clients=["webkit"], faults=faults, runs=1, cap=15, patience=4)


@pytest.mark.soak
def test_webkit_moves_on_silence_and_on_a_reset(webkit: Ran) -> None:
    silent, refused = webkit.rows["webkit", "drop"], webkit.rows["webkit", "rst"]
    assert (silent.outcome, refused.outcome) == ("moved", "moved")
    assert silent.gap is not None
    assert 0.2 <= silent.gap < 15  # it waits a quarter of a second before it tries the next address
    assert silent.seconds is not None
    assert silent.gap < silent.seconds
    assert refused.gap is not None
    assert refused.gap < 15
    assert {row.version.split(".")[0] for row in webkit.rows.values()} == {"2"}


@pytest.mark.soak
def test_webkit_shows_an_error_or_waits_where_a_copy_takes_the_connection(webkit: Ran) -> None:
    reset = next(seen for seen in webkit.seen if seen.fault == "reset")
    if reset.outcome == "error":  # now and then it asks again, and then the other copy
        assert "reset" in reset.error
    else:
        assert (reset.outcome, reset.letter) == ("moved", "B")
    assert webkit.rows["webkit", "hang"].outcome == "waiting"


@pytest.mark.soak
def test_a_reload_ends_the_load_that_hangs_and_reaches_the_other_copy(webkit: Ran) -> None:
    seen = next(seen for seen in webkit.seen if seen.fault == "mid-session")
    assert (seen.outcome, seen.reloads) == ("moved", 1)
    assert seen.seconds is not None
    assert seen.seconds > 4.0  # its visitor's patience, and the reload
    assert next(letter for _, letter in seen.syns) == "A"
    assert webkit.rows["webkit", "mid-session-rst"].outcome == "moved"


@pytest.mark.soak
def test_our_timeline_of_webkit_agrees_with_tcpdumps(webkit: Ran) -> None:
    pairs = [(seen.gap, seen.gap_tcpdump) for seen in webkit.seen if seen.gap is not None]
    assert pairs
    for ours, theirs in pairs:
        assert theirs is not None
        assert abs(ours - theirs) < 0.3


@pytest.mark.soak
def test_webkit_leaves_no_namespace_and_no_file_of_its_screen(webkit: Ran) -> None:
    assert list(webkit.labs.iterdir()) == []
    names = {made["net"] for made in made_by(webkit.run.folder)} - {str(Path("/proc/self/ns/net").readlink())}
    assert names
    assert not names & {str(link.readlink()) for link in links()}
    for number in (int(name.removeprefix("net:[").removesuffix("]")) % 50000 for name in names):
        for left in (f"/tmp/.X11-unix/X{number}", f"/tmp/.X{number}-lock", f"/var/lib/xkb/server-{number}.xkm"):
            assert not Path(left).exists()


MUTE = """#!/bin/sh
echo started >> {record}
if [ "$(wc -l < {record})" -gt 1 ]; then exec {real} "$@"; fi
exec {python} -c 'import socket, time; server = socket.create_server(("127.0.0.1", 4444)); time.sleep(1000)'
"""


@pytest.mark.soak
def test_a_driver_that_never_answers_is_ended_and_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed()
    record, mute = tmp_path / "record", tmp_path / "WebKitWebDriver"
    mute.write_text(MUTE.format(record=record, real=catalogue()["webkit"].program(), python=sys.executable))
    mute.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ran = measured(clients=["webkit"], faults=["rst"], runs=1, cap=15)
    assert record.read_text().split() == ["started", "started"]
    assert ran.rows["webkit", "rst"].outcome == "moved"
