"""The forced command answers JSON with JSON, starts nothing that writes to a disk, and its slots are its runs'."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from engines.fleet.agent import slots, starting, wire
from engines.fleet.agent.starting import ALLOWED
from engines.host.child import environment, start
from engines.job.jobfile import Job
from tests.engines.backup import lab
from tests.engines.backup.guests.host import domain, node, raw


def ask(raw_: bytes | wire.AnyRequest) -> tuple[int, list[wire.AnyAnswer]]:
    given = raw_ if isinstance(raw_, bytes) else msgspec.json.encode(raw_)
    argv = [sys.executable, "-P", "-m", "engines.cli", "fleet-agent"]
    done = subprocess.run(argv, input=given, capture_output=True, check=False, env=environment(), timeout=300)
    assert done.stderr == b"", done.stderr
    answers = [msgspec.json.decode(line, type=wire.AnyAnswer) for line in done.stdout.splitlines()]
    return done.returncode, answers


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"id; touch /tmp/x\n",
        b"{}",
        b'{"ask": "shell", "command": "id"}',
        b'{"ask": "about", "version": 99}',
        b"\xff" * 100,
        b"[" * 1_000,
    ],
)
def test_what_is_no_request_is_declined_in_words(given: bytes) -> None:
    code, answers = ask(given)
    assert code == 3
    (declined,) = answers
    assert isinstance(declined, wire.Declined) and declined.why


@pytest.mark.parametrize(
    "task", ["backup-restore", "backup-put", "backup-init", "backup-key-add", "virtio", "vdx", "x"]
)
def test_what_writes_to_a_disk_is_not_for_a_controller(task: str) -> None:
    assert task not in ALLOWED
    code, answers = ask(wire.Start(key="k", job=Job(task=task), slots=1))
    assert code == 3 and isinstance(answers[0], wire.Declined) and "may not start" in answers[0].why


def test_a_job_is_started_once_and_told_again_and_a_full_host_says_so(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    image = lab.disk(tmp_path / "web1.img", {0: 1}, lab.MIB)
    job = Job(task="backup", params={"repo": repo, "source": str(image), "vm": "web1", "limit": "none"})
    request = wire.Start(key="backup/2026-08-13/web1/near", job=job, slots=1)
    with slots.slot(1) as held:
        assert held is not None
        assert ask(request) == (75, [wire.Busy(taken=1)])
    code, answers = ask(request)
    ended = answers[-1]
    assert code == 0 and isinstance(ended, wire.Ended) and ended.status == "done" and not ended.before
    assert isinstance(answers[0], wire.Begun) and answers[0].new
    for again in (request, wire.Attach(key=request.key)):
        code, answers = ask(again)
        told = answers[-1]
        assert code == 0 and isinstance(told, wire.Ended)
        assert (told.run, told.before, told.result) == (ended.run, True, ended.result)
    code, answers = ask(wire.Attach(key="another"))
    assert code == 3 and isinstance(answers[0], wire.Declined)
    failing = wire.Start(key="gone", job=Job(task="backup", params={**job.params, "source": "/gone"}), slots=1)
    code, answers = ask(failing)
    assert code == 3 and isinstance(answers[0], wire.Declined) and "/gone does not exist" in answers[0].why


def test_who_follows_a_run_shows_signs_of_life(tmp_path: Path) -> None:
    image = lab.disk(tmp_path / "web1.img", {0: 1}, lab.MIB)
    job = Job(task="backup", params={"repo": lab.init(tmp_path / "repo"), "source": str(image), "vm": "web1"})
    said = [*starting.start(wire.Start(key="k", job=job, slots=1), alive=0.0)]
    assert isinstance(said[0], wire.Begun) and wire.Alive() in said
    assert isinstance(said[-1], wire.Ended) and said[-1].status == "done", said


def test_a_slot_is_held_by_who_inherits_it_and_free_once_that_is_gone() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(slots.slot(2))
        assert first is not None
        child = start(["cat"], stdout=subprocess.PIPE, keep=[first])
    assert slots.taken(2) == 1
    with slots.slot(2) as one, slots.slot(2) as none:
        assert one is not None and none is None
    child.kill()
    child.wait()
    assert slots.taken(2) == 0


def test_a_repository_is_tried_where_it_is_written_to(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    before = sorted(path.name for path in Path(repo).rglob("*"))
    code, (answer,) = ask(wire.Fit(repository={"repo": repo}))
    assert code == 0 and isinstance(answer, wire.Fits) and answer.points == 0 and answer.free
    assert {path.name for path in Path(repo).rglob("*")} <= {*before}
    shutil.rmtree(Path(repo, "sessions"), ignore_errors=True)
    Path(repo, "sessions").write_text("in the way")
    code, (answer,) = ask(wire.Fit(repository={"repo": repo}))
    assert code == 3 and isinstance(answer, wire.Declined) and "cannot be written to" in answer.why
    code, (answer,) = ask(wire.Fit(repository={"repo": str(tmp_path / "none")}))
    assert code == 3 and isinstance(answer, wire.Declined) and answer.what_helps


def test_guests_are_found_with_what_cannot_be_backed_up(tmp_path: Path) -> None:
    uri = node(tmp_path / "host.xml", domain(1, "web1", raw("/a")))
    code, (answer,) = ask(wire.Find(connect=uri))
    assert code == 0 and isinstance(answer, wire.Guests)
    assert [guest.name for guest in answer.found.guests] == ["web1"]
