"""What DESIGN promises of every task's plan and of its refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import tasks
from engines.job.contract import (
    RunFailed,
)
from engines.job.errors import Refused
from engines.job.work import Work
from tests.contract.cases import CASES, ELSEWHERE
from tests.contract.performing import each, performed, quick
from tests.contract.target import Case, snapshot


@quick
def test_planning_changes_no_byte_and_gives_the_same_plan_twice(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        first, second = target.plan(), target.plan()
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state
        assert first.digest == second.digest != ""
        assert first == second
        assert bool(target.engine.irreversible) == (not first.undoable)
        assert first.undo, "how it is taken back, or why it cannot be"


@each
def test_a_relative_path_is_the_same_plan(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with case.staged(tmp_path / "stage") as target:
        monkeypatch.chdir(tmp_path / "stage")
        inside = f"{tmp_path / 'stage'}/"

        def shorter(value: object) -> object:
            if isinstance(value, list):
                return [shorter(item) for item in value]
            return value.removeprefix(inside) if isinstance(value, str) else value

        given = {name: shorter(value) for name, value in target.job.params.items()}
        work = Work.of(target.engine, given, target.secrets)
        assert work.job == target.work.job
        assert work.plan() == target.plan()


@each
def test_a_review_that_no_longer_holds_is_refused_with_nothing_touched(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        _, last = performed(case, target, reviewed="of another world")
        assert isinstance(last, RunFailed)
        assert last.refused
        assert last.what_helps
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state


@quick
def test_every_refusal_names_the_next_action_and_touches_nothing(case: Case, tmp_path: Path) -> None:
    with case.staged(tmp_path / "stage") as target:
        state, before = target.state(), snapshot(tmp_path / "stage")
        assert case.wrong
        for wrong in case.wrong:
            with pytest.raises(Refused) as refused:
                Work.of(target.engine, {**target.job.params, **wrong}, target.secrets).plan()
            assert refused.value.why
            assert refused.value.what_helps
        assert snapshot(tmp_path / "stage") == before
        assert target.state() == state


def test_every_engine_has_a_case_or_is_said_to_be_held_elsewhere() -> None:
    every = {engine.name for task in tasks.TASKS.values() for engine in task.engines()}
    here = {case.engine().name for case in CASES}
    assert every - here == set(ELSEWHERE)
    root = Path(__file__).resolve().parents[2]
    for words in ELSEWHERE.values():
        assert (root / words.rpartition(" ")[2]).exists(), words
