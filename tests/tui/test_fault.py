"""What a form says of a bad value is in the form's own words, in every field of every wizard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.job.contract import Plan
from engines.job.errors import BadParam, Refused
from engines.job.params import Field, fields
from engines.job.work import Work
from tests.tui.conftest import Suite, fill, page, shown, until
from tui.console import Terminal
from tui.draft import Draft
from tui.fault import fault, in_labels, told
from tui.pages.plan import labelled
from tui.screens.section import commanded
from tui.wizard import Wizard
from wizards import WIZARDS

NONSENSE = (
    "",
    "no such thing",
    "-1",
    "99999999999",
    "/no/where/at/all",
    "1.5",
    "a,b",
    "s3://",
    "\x07",
    "~nobody-such/x",
)
CLI = re.compile(r"--[a-z]|in quotes|a list of texts|true, false|allowed is|correct [a-z]+_|crashcart [a-z ]*--help")
SIZE = (80, 24)
ROWS = commanded(WIZARDS)
QUICK = re.compile(r"backup|biosiso$|fleet|virtio")  # their plans end at the first thing that is not there


def asked(wizard: Wizard) -> tuple[Field, ...]:
    return tuple(field for form in wizard.forms for field in wizard.fields(form))


def foreign(words: str, wizard: Wizard, value: str) -> bool:
    """Whether words tell of the command line; the value that was typed may look as it likes."""
    said = words.replace(value, "") if value else words
    places = [field.metavar for field in fields(wizard.engine.params) if field.positional and len(field.metavar) > 3]
    return bool(CLI.search(said)) or any(re.search(rf"\b{re.escape(place)}\b", said) for place in places)


@pytest.mark.parametrize("wizard", WIZARDS, ids=lambda wizard: wizard.task)
def test_a_bad_value_is_told_in_words_of_the_form(wizard: Wizard, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    values = (*NONSENSE, str(tmp_path), str(tmp_path / "file"), "x" * 300)
    said = {(field.name, value): fault(field, value) for field in asked(wizard) for value in values}
    assert {name: words for name, words in said.items() if foreign(words, wizard, name[1])} == {}


def refusals(wizard: Wizard, base: dict[str, str]) -> Iterator[str]:
    """What looking says of a job that cannot be, as the review page shows it."""
    draft = Draft(wizard.engine, dict(base), rows=ROWS)
    try:
        Work.of(wizard.engine, draft.job().params, draft.secrets()).plan()
    except Refused as refused:
        param = refused.name if isinstance(refused, BadParam) else ""
        yield from told(refused.why, refused.what_helps, param, asked(wizard), ROWS)


@pytest.mark.parametrize("wizard", [one for one in WIZARDS if QUICK.match(one.task)], ids=lambda wizard: wizard.task)
def test_a_plan_that_is_refused_is_told_in_words_of_the_form(wizard: Wizard, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    there = {"file": str(tmp_path / "file"), "folder": str(tmp_path), "output": str(tmp_path / "new" / "er")}
    base = {field.name: there.get(field.kind, "x") for field in asked(wizard) if field.shape in ("text", "list")}
    for values in ({}, base):
        for words in refusals(wizard, values):
            assert not foreign(words, wizard, "x")
            assert "crashcart backup init" not in words


def test_options_places_and_commands_become_fields_and_rows() -> None:
    run, get = (next(one for one in WIZARDS if one.task == task) for task in ("backup", "backup-get"))
    helps = "give SOURCE, --vm VM; or --guest NAME; all there is: crashcart backup run --help"
    assert told("source is nothing, allowed is a disk", helps, "source", asked(run), ROWS) == (
        "needed: a disk",
        'give "Disk", "VM"',
    )
    assert told("/x is no backup repository", "make one: crashcart backup init /x", "", asked(run), ROWS) == (
        "/x is no backup repository",
        'make one: "New repository" under backup',
    )
    assert told("vm is 'x', allowed is a VM", "correct vm", "vm", asked(run), ROWS) == (
        "x will not do; needed: a VM",
        "",
    )
    assert in_labels("with --tar a file", asked(get)) == 'with "Tar" a file'
    convert = next(one for one in WIZARDS if one.task == "virtio")
    assert "NEW" not in in_labels("name a new file: --into NEW.qcow2", asked(convert))
    assert in_labels("give --passphrase-file FILE", asked(run)) == 'give "Passphrase"'
    assert in_labels("see crashcart backup get --tar", asked(get)) == "see crashcart backup get --tar"


def test_the_words_of_a_plan_name_fields_and_what_it_does_stays() -> None:
    build = next(one for one in WIZARDS if one.task == "biosiso")
    plan = Plan(task="biosiso", target="x", params={}, steps=(), warnings=("put it on the disc (--add FILE)",)).sealed()
    said = labelled(plan, asked(build))
    assert said.warnings == ('put it on the disc ("Add")',)
    assert said.digest == plan.digest


async def test_what_is_not_there_points_to_the_row_that_makes_it_and_every_mistake_has_its_line(tmp_path: Path) -> None:
    app = Suite(WIZARDS, Terminal())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: page(pilot) == "Home")
        app.open_task("backup-verify", {})
        await until(pilot, lambda: page(pilot) == "Repository")
        fill(pilot, repo=str(tmp_path / "none"))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: 'no such folder; "New repository" makes one' in shown(pilot))
        fill(pilot, repo=str(tmp_path))
        await pilot.press("ctrl+n", "ctrl+n")
        await until(pilot, lambda: 'make one: "New repository" under backup' in " ".join(shown(pilot).split()))
        fleet = tmp_path / "fleet.yaml"
        fleet.write_text("hosts: 3\nrepositories: 4\n")
        app.open_task("fleet", {"fleet": str(fleet)})
        await until(pilot, lambda: page(pilot) == "Fleet")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "hosts" in shown(pilot) and "repositories" in shown(pilot))
