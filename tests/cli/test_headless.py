"""The engines are headless, ours, and quick to ask for help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import engines
from engines.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
PARSER = "from engines.cli import acts, parsing; "


def modules_after(statement: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(ran.stdout.split())


def test_the_command_line_loads_neither_textual_nor_rich() -> None:
    loaded = modules_after("import engines.cli, engines.cli.launch, engines.child, engines.doctor")
    assert {name for name in loaded if name.split(".")[0] in ("textual", "rich", "tui", "wizards")} == set()


def test_asking_for_help_loads_no_task() -> None:
    loaded = modules_after(f"{PARSER}parsing.parser(['--help'], acts.CALLS)")
    assert {name for name in loaded if any(name.startswith(f"engines.{task}") for task in TASKS)} == set()
    slow = {"msgspec", "numpy", "yaml", "hashlib", "uuid", "decimal", "engines.job.contract", "difflib"}
    assert not slow & (loaded - modules_after(""))  # a machine's own sitecustomize may bring some


def test_a_verb_had_alone_is_the_tasks_own_and_loads_no_other() -> None:
    for task in TASKS.values():
        for verb in task.alone:
            _, (engine,) = task.of(verb)
            assert type(engine) in {type(known) for known in task.engines()}
            assert engine.verb == verb
    loaded = modules_after(f"{PARSER}parsing.parser(['backup', 'run'], acts.CALLS)")
    assert "engines.backup.commands.run" in loaded
    assert not {"engines.backup.engine", "engines.backup.commands.restore", "numpy"} & loaded
    assert not {"xml.etree.ElementTree", "tarfile", "concurrent.futures", "engines.host.virsh", "yaml"} & loaded


def test_an_unknown_verb_is_told_all_that_there_are() -> None:
    looks, engines_ = TASKS["backup"].of("bakup")
    assert {"run", "restore", "list"} <= {known.verb for known in (*looks, *engines_)}


def test_the_package_called_engines_is_ours() -> None:
    assert engines.__file__ is not None
    assert Path(engines.__file__).resolve().is_relative_to(ROOT)


def test_no_engine_reaches_for_a_screen_and_no_screen_for_the_machine() -> None:
    for folder, words in (("engines", ("import textual", "import rich", "from rich", "from textual")),):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert not [word for word in words if word in text], path
