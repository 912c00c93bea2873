"""DESIGN.md is true: its map is the tree, ten things lie where it says, and its five steps make a task."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DESIGN = (ROOT / "DESIGN.md").read_text()
FOUND = {
    "the typed word": ("engines/job/perform.py", "_agreed"),
    "a run that was killed": ("engines/job/runs.py", "interrupted"),
    "who has this disk open": ("engines/host/users.py", "users"),
    "the list of words by which a boot": ("engines/boot/dead_ends.py", "Kernel panic"),
    "an image's old bytes": ("engines/guest/undolog.py", "UndoLog"),
    "blocks compared with the hashes": ("engines/backup/capture/reading.py", "Reading"),
    "a waiting ext4 journal": ("engines/backup/files/volumes/replay.py", "Replayed"),
    "reading held to a share": ("engines/backup/limits/cgroup.py", "cgroup"),
    "the new vcs id": ("engines/vdx/judging/choose.py", "choose"),
    "which fields the restore wizard": ("wizards/backup.py", "RESTORE"),
    "how fast a repository is written": ("engines/backup/store/uplink.py", "Uplink"),
    "which points a night's rule keeps": ("engines/backup/upkeep/retention.py", "kept"),
    "what kind of file system": ("engines/backup/files/volumes/signatures.py", "detect"),
    "what stands in AMI2.BAT": ("engines/biosiso/media/texts.py", "ami2_bat"),
    "which address a client tried next": ("engines/failover/lab/syn_capture.py", "syn"),
    "which guests are due tonight": ("engines/fleet/planning/wanted.py", "wanted"),
}


def packages() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*/__init__.py"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.split()  # fmt: skip
    return [Path(name).parent for name in tracked if name.split("/")[0] in ("engines", "tui", "wizards")]


def test_every_folder_is_on_the_map_and_makes_one_promise() -> None:
    shown = DESIGN.split("## The map")[1].split("Arrows point")[0]
    for folder in packages():
        promise = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
        assert re.fullmatch(r"[^\n]{20,120}", promise.splitlines()[0] if promise else ""), folder
        assert re.search(rf"(?<![\w/]){folder.name}(?![\w.])", shown), f"{folder} is not on DESIGN.md's map"


@pytest.mark.parametrize("words", FOUND)
def test_what_a_maintainer_looks_for_lies_where_design_says(words: str) -> None:
    row = next(line for line in DESIGN.splitlines() if line.startswith(f"| {words}"))
    folder = row.split("|")[2].strip()
    file, name = FOUND[words]
    assert Path(file).parent == Path(folder)
    assert re.search(rf"\b{name}", (ROOT / file).read_text(), re.IGNORECASE), (file, name)


STEPS = {
    "params.py": '''
from typing import Annotated
from engines.job.params import Params, param

class ShoutParams(Params, frozen=True, kw_only=True):
    """Which text."""
    source: Annotated[str, param("Text", "the text that is shouted", kind="file", positional=True)]
''',
    "engine.py": '''
from pathlib import Path
from typing import Any, ClassVar
import msgspec
from typing_extensions import override
from engines.job.contract import Cancel, Context, Engine, Events, Finished, Plan, Step, StepEnded, StepStarted
from engines.job.contract import TextChange
from engines.job.errors import Refused
from engines.job.lock import name_identity
from engines.job.params import plain
from engines.shout.params import ShoutParams

class Shouted(msgspec.Struct, frozen=True, kw_only=True):
    """Letters that were made large."""
    letters: int

class Shout(Engine[ShoutParams]):
    """`crashcart shout loud`."""
    name: ClassVar[str] = "shout"
    verb: ClassVar[str] = "loud"
    title: ClassVar[str] = "a text in capitals"
    kind: ClassVar[str] = "change"
    result: ClassVar[type[Any]] = Shouted
    params = ShoutParams

    @override
    def target(self, params: ShoutParams) -> str:
        return name_identity(Path(params.source))

    @override
    def plan(self, params: ShoutParams, cancel: Cancel) -> Plan:
        path = Path(params.source)
        if not path.is_file():
            raise Refused(f"{path} is no file", "name a text")
        text = path.read_text()
        return Plan(
            task=self.name, target=str(path), params=plain(params), steps=(Step(id="shout", title="Shout"),),
            changes=(TextChange(target=str(path), before=text, after=text.upper()),), confirm=path.name,
            undo="the old text is put back", detail={"before": text}, state={"before": text},
        ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="shout")
        path = Path(plan.params.source)
        path.write_text(path.read_text().upper())
        yield StepEnded(step="shout")
        yield Finished(summary="shouted", result={"letters": len(plan.detail["before"])})

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        yield StepStarted(step="shout")
        Path(plan.params.source).write_text(plan.detail["before"])
        yield StepEnded(step="shout")
        yield Finished(summary="quiet again")

ENGINES = (Shout(),)
LOOKS = ()
''',
}
WIZARD = """
from tui.wizard import Form, Wizard
LOUD = Wizard("shout", Form("Text", "source", why="The text that is shouted."))
"""
STAGE = '''
"""A text to shout at. It does not prove that anybody hears."""
from contextlib import contextmanager
from engines.job.jobfile import Job
from engines.rehearsal.stage import Staged

@contextmanager
def stage(folder):
    (folder / "text").write_text("cold console")
    yield Staged(job=Job(task="shout", params={"source": str(folder / "text")}))
'''


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which the five steps were done."""
    copy = tmp_path_factory.mktemp("five-steps")
    for name in ("engines", "tui", "wizards"):
        subprocess.run(["cp", "-r", ROOT / name, copy / name], check=True)
    task = copy / "engines" / "shout"
    task.mkdir()
    (task / "__init__.py").write_text('"""A text in capitals, and back."""\n')
    for name, text in STEPS.items():
        (task / name).write_text("from __future__ import annotations\n" + text)

    def insert(file: str, after: str, line: str) -> None:
        path = copy / file
        assert path.read_text().count(after) == 1, (file, after)
        path.write_text(path.read_text().replace(after, after + line))

    insert("engines/tasks.py", "TASKS = {\n", '    "shout": Task("engines.shout.engine", "a text in capitals"),\n')
    (copy / "wizards" / "shout.py").write_text("from __future__ import annotations\n" + WIZARD)
    insert("wizards/__init__.py", "from wizards.virtio import CONVERT\n", "from wizards.shout import LOUD\n")
    insert("wizards/__init__.py", "WIZARDS = (", "LOUD, ")
    (copy / "engines" / "rehearsal" / "shout.py").write_text("from __future__ import annotations\n" + STAGE)
    insert("engines/rehearsal/stage.py", "STAGES = {\n", '    "shout": "engines.rehearsal.shout",\n')
    return copy


def ran(extended: Path, *argv: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(extended)}
    return subprocess.run(
        [sys.executable, *map(str, argv)], capture_output=True, text=True, check=False, cwd=folder, env=env
    )


def test_a_task_made_by_the_five_steps_is_there_on_every_face(extended: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("cold console")

    def crashcart(*words: str) -> subprocess.CompletedProcess[str]:
        return ran(extended, "-m", "engines.cli", *words, folder=tmp_path)

    assert "a text in capitals" in crashcart("--help").stdout
    assert crashcart("shout", "loud", "text").returncode == 2
    assert text.read_text() == "cold console"
    done = crashcart("shout", "loud", "text", "--confirm", "text")
    assert done.returncode == 0, done.stderr
    assert text.read_text() == "COLD CONSOLE"
    assert "# crashcart shout" in Path(done.stdout.strip()).read_text()
    assert crashcart("undo", "last", "--confirm", "text").returncode == 0
    assert text.read_text() == "cold console"

    (tmp_path / "job.yaml").write_text("task: shout\nparams: {source: text}\n")
    assert crashcart("run", "job.yaml", "--confirm", "text").returncode == 0
    assert crashcart("rehearse", "shout").returncode == 0

    script = "import engines; print(engines.run('shout', source='text', confirm='text').result.letters)"
    assert ran(extended, "-c", script, folder=tmp_path).stdout == "12\n"

    home = ran(extended, "-c", "from wizards import WIZARDS; print([w.task for w in WIZARDS])", folder=tmp_path)
    assert "'shout'" in home.stdout, home.stderr


@pytest.mark.parametrize("package", sorted(path.parent for path in (ROOT / "engines").glob("*/__init__.py")))
def test_a_class_name_has_one_meaning_within_a_package(package: Path) -> None:
    where: dict[str, list[str]] = {}
    for path in package.rglob("*.py"):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}
