"""A build puts its disc in place whole or not at all, and takes it back to the byte."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engines.biosiso.build import place
from engines.biosiso.media.making import Detail
from engines.job.contract import AnyEvent, Finished, Progress, RunFailed, RunStopped, StepStarted
from engines.job.journal import Entry
from engines.job.perform import Stop
from tests.engines.biosiso.packages import KIT, built, events, made, output, params, planned, taken_up, unpacked
from tests.nobody import seen_in


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def at(kind: Callable[[AnyEvent], bool], act: Callable[[], object]) -> Callable[[Entry], None]:
    """A listener that acts once, at the first event of a kind."""
    waiting = [act]

    def listen(entry: Entry) -> None:
        if waiting and kind(entry.event):
            waiting.pop()()

    return listen


def starts(step: str) -> Callable[[AnyEvent], bool]:
    return lambda event: isinstance(event, StepStarted) and event.step == step


@pytest.mark.parametrize("step", ["write", "verify"])
@pytest.mark.parametrize("before", [None, b"the old disc"])
def test_a_stopped_build_leaves_the_output_as_it_was(step: str, before: bytes | None, tmp_path: Path) -> None:
    given = params(tmp_path)
    if before is not None:
        output(given).write_bytes(before)
    stop = Stop()
    _, last = built(given, stop, at(starts(step), stop.ask))
    assert isinstance(last, RunStopped)
    assert left_in(tmp_path / "out") == (["bios.iso"] if before is not None else [])
    assert before is None or output(given).read_bytes() == before


def test_a_stop_while_it_writes_is_obeyed_within_a_moment(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(300 * 1024 * 1024))
    given = params(tmp_path, add=[str(tmp_path / "large.bin")])
    stop = Stop()
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        stop.ask()

    _, last = built(given, stop, at(lambda event: isinstance(event, Progress), ask))
    assert isinstance(last, RunStopped)
    assert asked
    assert "iso-writer" not in [thread.name for thread in threading.enumerate()]
    assert left_in(tmp_path / "out") == []


def test_a_source_that_changes_meanwhile_fails_the_build_and_is_named(tmp_path: Path) -> None:
    given = params(tmp_path, firmware=str(unpacked(tmp_path / "kit", KIT)))
    rom = tmp_path / "kit" / "x9scm2.608"
    _, last = built(given, listen=at(starts("write"), lambda: rom.write_bytes(rom.read_bytes()[::-1])))
    assert isinstance(last, RunFailed)
    assert str(rom) in last.why
    assert "changed" in last.why
    assert left_in(tmp_path / "out") == []


def test_a_source_that_becomes_shorter_is_not_filled_with_zeros(tmp_path: Path) -> None:
    given = params(tmp_path, firmware=str(unpacked(tmp_path / "kit", KIT)))
    rom = tmp_path / "kit" / "x9scm2.608"
    _, last = built(given, listen=at(starts("write"), lambda: rom.write_bytes(rom.read_bytes()[:-5])))
    assert isinstance(last, RunFailed)
    assert "shorter" in last.why
    assert left_in(tmp_path / "out") == []


def test_a_source_that_is_gone_fails_the_build_in_a_sentence(tmp_path: Path) -> None:
    given = params(tmp_path)
    _, last = built(given, listen=at(starts("write"), Path(given["firmware"]).unlink))
    assert isinstance(last, RunFailed)
    assert "cannot be read" in last.why
    assert not last.why.startswith("unexpected")


def test_a_disc_that_is_damaged_before_it_is_read_back_is_not_put_in_place(tmp_path: Path) -> None:
    given = params(tmp_path)

    def damage() -> None:
        (disc,) = (tmp_path / "out").glob(".bios.iso.crashcart-*.partial")
        raw = bytearray(disc.read_bytes())
        raw[raw.index(KIT["x9scm2.608"][:64]) + 5000] ^= 1
        disc.write_bytes(raw)

    _, last = built(given, listen=at(starts("verify"), damage))
    assert isinstance(last, RunFailed)
    assert "X9SCM2.608 reads back differently" in last.why
    assert left_in(tmp_path / "out") == []


def test_an_output_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    given = params(tmp_path)
    _, last = built(given, listen=at(starts("verify"), lambda: output(given).write_bytes(b"someone's")))
    assert isinstance(last, RunFailed)
    assert "changed while" in last.why
    assert output(given).read_bytes() == b"someone's"
    assert left_in(tmp_path / "out") == ["bios.iso"]


def test_a_disk_that_fills_up_while_it_writes_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "crashcart-test", small], check=True)
    try:
        given = params(tmp_path, output=str(small / "bios.iso"))
        fill = at(starts("write"), lambda: (small / "other").write_bytes(bytes(7 * 1024 * 1024)))
        _, last = built(given, listen=fill)
        assert isinstance(last, RunFailed)
        assert "No space left" in last.why
        assert left_in(small) == ["other"]
    finally:
        subprocess.run(["umount", small], check=True)


# ── undo and resume ─────────────────────────────────────────────────────────────────────────────────


def test_undo_brings_the_old_file_back_with_its_time_and_mode(tmp_path: Path) -> None:
    given = params(tmp_path)
    output(given).write_bytes(b"the old disc")
    output(given).chmod(0o640)
    before = output(given).stat()
    run, last = built(given)
    assert isinstance(last, Finished)
    assert Path(last.result["before"]).read_bytes() == b"the old disc"
    _, undone = taken_up(run, "undo")
    assert isinstance(undone, Finished), undone
    after = output(given).stat()
    assert output(given).read_bytes() == b"the old disc"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert left_in(tmp_path / "out") == ["bios.iso"]


def test_undo_refuses_where_the_disc_was_changed_since(tmp_path: Path) -> None:
    given = params(tmp_path)
    run, _ = built(given)
    output(given).write_bytes(b"another disc")
    _, undone = taken_up(run, "undo")
    assert isinstance(undone, RunFailed)
    assert "no longer the disc of that run" in undone.why
    assert output(given).read_bytes() == b"another disc"


def test_undo_of_an_undone_run_finds_nothing_to_do(tmp_path: Path) -> None:
    given = params(tmp_path)
    run, _ = built(given)
    taken_up(run, "undo")
    _, again = taken_up(run, "undo")
    assert isinstance(again, Finished)
    assert left_in(tmp_path / "out") == []


def test_resume_of_a_finished_run_does_it_no_second_time(tmp_path: Path) -> None:
    given = params(tmp_path)
    run, _ = built(given)
    identity = place.identity(output(given))
    again, last = taken_up(run, "resume")
    assert isinstance(last, Finished)
    assert place.identity(output(given)) == identity
    _, undone = taken_up(again, "undo")
    assert isinstance(undone, Finished)
    assert left_in(tmp_path / "out") == []


def test_half_written_discs_of_killed_runs_are_swept_and_nothing_else_is(tmp_path: Path) -> None:
    given = params(tmp_path)
    half = place.partial(output(given), "20200101T000000Z-biosiso-bios.iso")
    for leftover in (half, half.with_name(f"{half.name}-fat"), half.with_name(f"{half.name}-probe")):
        leftover.write_bytes(b"half")
    others = ("bios.iso2", ".other.iso.crashcart-x.partial", ".bios.iso.crashcart-x.before")
    for name in others:
        (tmp_path / "out" / name).write_bytes(b"kept")
    run, last = built(given)
    assert isinstance(last, Finished)
    assert left_in(tmp_path / "out") == sorted([*others, "bios.iso"])
    assert sum("left by a run that was killed" in getattr(event, "text", "") for event in events(run)) == 3


def test_a_link_as_output_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    given = params(tmp_path)
    (tmp_path / "link.iso").symlink_to(output(given))
    made(given | {"output": str(tmp_path / "link.iso")})
    assert (tmp_path / "link.iso").is_symlink()
    assert output(given).stat().st_size > 0


def test_the_report_ends_with_power_ac_and_defaults(tmp_path: Path) -> None:
    then = " ".join(made(params(tmp_path)).then)
    assert re.search(r"power steady.*AC off.*load defaults", then)


def test_a_plan_survives_its_way_through_json(tmp_path: Path) -> None:
    plan = planned(params(tmp_path, form="stick"))
    again = msgspec.json.decode(msgspec.json.encode(plan), type=type(plan))
    assert msgspec.convert(again.detail, Detail) == msgspec.convert(plan.detail, Detail)


# ── killed within the last step ─────────────────────────────────────────────────────────────────────


def about_to_replace(folder: Path) -> tuple[Path, place.Placed]:
    """A run killed between keeping the old file and the rename."""
    old, run = folder / "bios.iso", "20200101T000000Z-biosiso-bios.iso"
    old.write_bytes(b"the old disc")
    place.partial(old, run).write_bytes(b"the new disc")
    (folder / "run").mkdir()
    was = place.identity(old)
    before = place.kept(old, run)
    before.hardlink_to(old)
    new = place.identity(place.partial(old, run))
    return old, place.Placed(output=str(old), sha256="", identity=new, was=was, before=str(before))


def test_a_kill_before_the_rename_is_taken_back_to_the_byte(tmp_path: Path) -> None:
    old, placed = about_to_replace(tmp_path)
    assert "as it was" in place.take_back(placed)
    place.sweep(old)
    assert old.read_bytes() == b"the old disc"
    assert left_in(tmp_path) == ["bios.iso", "run"]


def test_the_record_of_a_run_that_never_came_to_it_is_none(tmp_path: Path) -> None:
    assert place.recorded(tmp_path) is None
    place.reserve(tmp_path)
    assert place.recorded(tmp_path) is None
    _, placed = about_to_replace(tmp_path)
    place.record(tmp_path, placed)
    assert place.recorded(tmp_path) == placed
    assert (tmp_path / place.RECORD).stat().st_size == place.RESERVED


def test_undo_refuses_where_the_kept_file_is_gone(tmp_path: Path) -> None:
    given = params(tmp_path)
    output(given).write_bytes(b"the old disc")
    run, last = built(given)
    assert isinstance(last, Finished)
    Path(last.result["before"]).unlink()
    _, undone = taken_up(run, "undo")
    assert isinstance(undone, RunFailed)
    assert "is gone" in undone.why
    assert output(given).stat().st_size == last.result["bytes"]


def test_where_a_second_name_is_not_allowed_the_old_file_is_copied(open_folder: Path) -> None:
    """The kernel lets nobody link root's files (fs.protected_hardlinks); FAT has no links at all."""
    given = params(open_folder)
    output(given).write_bytes(b"the old disc")
    os.chown(open_folder / "out", 65534, 65534)
    code = (
        "import json, os, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "os.environ['XDG_STATE_HOME'] = os.environ['HOME'] = sys.argv[2]\n"
        "from tests.engines.biosiso.packages import built, taken_up\n"
        "run, last = built(json.loads(sys.argv[1]))\n"
        "print(type(last).__name__, os.stat(last.result['before']).st_nlink, os.stat(last.result['before']).st_uid)\n"
        "print(type(taken_up(run, 'undo')[1]).__name__)\n"
    )
    before, python = seen_in(open_folder)
    done = subprocess.run(
        [*before, python, "-c", code, json.dumps(given), str(open_folder / "out" / "s")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["Finished", "1", "65534", "Finished"], done.stderr
    assert output(given).read_bytes() == b"the old disc"
    assert left_in(open_folder / "out") == ["bios.iso", "s"]
