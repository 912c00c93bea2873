"""No child runs what lies in the folder that somebody happens to stand in: `crashcart` is typed as root, anywhere."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engines
from engines.backup.sources.lvm.moment import Moment
from engines.doctor import checks
from engines.host import child
from engines.job import detach
from engines.job.jobfile import Job

ROOT = Path(engines.__file__).parents[1]
SQUATTED = ("engines", "tui", "wizards", "asyncssh", "json", "msgspec", "guestfs")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: packages with the names that we import, each of which says that it ran."""
    folder, ran = tmp_path / "x", tmp_path / "ran"
    for name in SQUATTED:
        (folder / name).mkdir(parents=True)
        for file in ("__init__.py", "__main__.py", "child.py"):
            (folder / name / file).write_text(f"open({str(ran)!r}, 'a').write(__name__ + chr(10))\n")
    (folder / "sitecustomize.py").write_text(f"open({str(ran)!r}, 'a').write('sitecustomize')\n")
    monkeypatch.chdir(folder)
    return ran


@pytest.mark.parametrize("words", [(), ("--help",), ("runs",)])
def test_crashcart_runs_nothing_of_the_current_folder(trap: Path, words: tuple[str, ...]) -> None:
    command = Path(sys.executable).with_name("crashcart")
    subprocess.run([command, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert not trap.exists(), trap.read_text()


def test_a_planning_child_runs_nothing_of_the_current_folder(trap: Path) -> None:
    said = detach.plan(Job(task="virtio", params={"image": "/nowhere"}), {}, lambda: False)
    assert "/nowhere" in said.why
    assert not trap.exists(), trap.read_text()


def test_what_holds_a_moment_runs_nothing_of_the_current_folder(trap: Path) -> None:
    with Moment(()) as moment:
        assert not moment.held.trouble
    assert not trap.exists(), trap.read_text()


def test_the_doctor_runs_nothing_of_the_current_folder(trap: Path) -> None:
    checks.guestfs_binding()
    checks.asyncssh()
    checks.fuse()
    assert not trap.exists(), trap.read_text()


def test_an_empty_or_relative_place_for_modules_is_left_out() -> None:
    given = child.environment({"PYTHONPATH": f":.:lib:{ROOT}:/opt/site"})
    assert given["PYTHONPATH"] == f"{ROOT}:/opt/site"
    assert given["PYTHONSAFEPATH"] == "1"


def _starts(tree: ast.AST) -> list[int]:
    """Lines that name the interpreter, or start what `child.module` or `child.code` says otherwise than by `start`."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "executable" and getattr(node.value, "id", "") == "sys":
            found.append(node.lineno)
        if isinstance(node, ast.Call) and _name(node.func) in ("Popen", "run", "check_output", "execv", "spawn"):
            inner = [each for each in ast.walk(node) if isinstance(each, ast.Call) and each is not node]
            found += [each.lineno for each in inner if _name(each.func) in ("module", "code")]
        if isinstance(node, ast.List) and node.elts and "bin/python" in str(getattr(node.elts[0], "value", "")):
            isolated = [each for each in node.elts if getattr(each, "value", "") in ("-I", "-P")]
            found += [] if isolated else [node.lineno]
    return found


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_python_is_started_in_one_place() -> None:
    elsewhere = {}
    for folder in ("engines", "tui", "wizards"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != Path(child.__file__) and (lines := _starts(ast.parse(path.read_text()))):
                elsewhere[str(path.relative_to(ROOT))] = lines
    assert not elsewhere


@pytest.mark.parametrize("text", ["import sys\nrun([sys.executable])", "Popen(module('x'))", "['/usr/bin/python3']"])
def test_another_start_of_python_would_be_found(text: str) -> None:
    assert _starts(ast.parse(text))


def test_no_core_is_dumped_of_what_may_hold_secrets() -> None:
    text = "import resource; from engines.host.streams import settle; settle(); print(resource.getrlimit(4))"
    done = subprocess.run(child.code(text), capture_output=True, text=True, check=True, env=child.environment())
    assert done.stdout == "(0, 0)\n"


def test_a_process_that_holds_a_secret_is_read_by_no_other_of_its_user() -> None:
    """In a child of its own: what a process has switched off stays off."""
    words = (
        "import ctypes; from engines.job.params import Secret\n"
        "dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "before = dumpable(); Secret('x'); print(before, dumpable())"
    )
    ran = subprocess.run(child.code(words), env=child.environment(), capture_output=True, text=True, check=True)
    kept = os.geteuid() == 0 and not child._rights() & child.CAP_SYS_PTRACE
    assert ran.stdout.split() == ["1", "1" if kept else "0"]
