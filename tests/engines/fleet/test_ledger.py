"""A ledger that is full, locked, damaged or another's is told in words with what helps, and goes on where it can."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from engines.fleet.ledger.holds import holds
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job
from engines.job.errors import Failed, Refused


def job(number: int) -> Job:
    return Job(key=f"k{number}", round="r", kind="backup", uuid=f"u{number}", vm="web1", host="hv1", repository="near",
               warnings=("x" * 1000,))  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Of a ledger with a hundred jobs."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.keep(*map(job, range(100)))
    yield tmp_path / "ledger.sqlite"


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(statement)


def test_a_full_disk_loses_one_change_and_nothing_else(path: Path) -> None:
    with Ledger(path) as ledger:
        ((pages,),) = ledger._rows("pragma page_count")
        ledger._rows(f"pragma max_page_count={pages}")
        with pytest.raises(Failed, match="full") as caught:
            ledger.keep(*map(job, range(100, 900)))
        assert "make room" in caught.value.what_helps
        assert len(ledger.jobs()) == 100
        ledger._rows("pragma max_page_count=100000")
        ledger.keep(job(100))
        assert len(ledger.jobs()) == 101


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KiB with a ledger on it."""
    (place := tmp_path / "tiny").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "crashcart-test", str(place)], check=True)
    try:
        Ledger(place / "ledger.sqlite").close()
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_without_room_or_mounted_to_be_read_is_not_taken_for_a_spoilt_ledger(tiny: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    with pytest.raises(Refused, match="Read-only") as caught:
        Ledger(tiny / "ledger.sqlite")
    assert caught.value.what_helps.startswith("mount that disk")
    subprocess.run(["mount", "-o", "remount,rw", str(tiny)], check=True)
    with suppress(OSError), (tiny / "fill").open("wb", buffering=0) as fill:
        while True:
            fill.write(bytes(1024))
    with pytest.raises(Refused, match="full") as caught:
        Ledger(tiny / "ledger.sqlite")
    assert "make room" in caught.value.what_helps


def test_a_ledger_that_another_process_keeps_locked_is_given_up(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        with Ledger(path, patience=0.1) as ledger:
            other.execute("begin immediate")
            with pytest.raises(Failed, match="locked") as caught:
                ledger.remember("x", 1, 1.0)
            assert "crashcart runs" in caught.value.what_helps
            assert len(ledger.jobs()) == 100  # it may be read all the same
            other.execute("rollback")
            ledger.remember("x", 1, 1.0)
            assert ledger.remembered("x", int) == 1
            other.execute("begin immediate")
        with pytest.raises(Refused, match="locked"):
            Ledger(path, patience=0.1)


def scrawled(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\x55" * (len(raw) - 4096)
    path.write_bytes(raw)


def a_bad_row(path: Path) -> None:
    change(path, "update job set disks = x'00'")


def a_guest_without_a_column(path: Path) -> None:
    change(path, "alter table guest drop column policy")
    change(path, "insert into guest values ('u', 'v', 'n', 'h', 1, 2, null, x'00')")


def bad_holds(path: Path) -> None:
    change(path, "insert into kept (name, value, at) values ('holds', '{}', 1)")


def without_a_column(path: Path) -> None:
    change(path, "alter table job drop column why")


def newer(path: Path) -> None:
    change(path, "pragma user_version=99")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


def another(path: Path) -> None:
    path.write_bytes(b"no ledger" * 1000)


HARMS = [scrawled, a_bad_row, a_guest_without_a_column, bad_holds, without_a_column, newer, half, another]


@pytest.mark.parametrize("harm", HARMS)
def test_a_ledger_that_cannot_be_used_is_told_with_what_helps(harm: Callable[[Path], None], path: Path) -> None:
    harm(path)
    with pytest.raises((Failed, Refused), match=f"ledger {path}") as caught, Ledger(path) as ledger:
        ledger.jobs()
        ledger.newest()
        ledger.guests()
        holds(ledger)
    assert ("newer" if harm is newer else "move this one away") in str(caught.value)
