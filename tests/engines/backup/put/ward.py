"""A guest with a point of before its accident, and runs of put on copies of it."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import tasks
from engines.job import runs
from engines.job.contract import (
    AnyEvent,
    BytesChange,
    Cancel,
    Plan,
    StepStarted,
)
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert, plain
from engines.job.perform import perform
from tests.agreed import AGREED
from tests.engines.backup.files.judging import MIB, mounted, run, seen

START, SIZE = 18 * MIB, 44 * MIB  # the second partition: the root
SCRIPT = "label: dos\nstart=2048,size=32768,type=c\nstart=36864,size=90112,type=83\n"


@dataclass
class Ward:
    """A guest's image as it is now, the point of it before its accident, and what the point's files are."""

    folder: Path
    image: Path
    repo: str
    point: str
    before: dict[bytes, dict[str, Any]]

    def copy(self, name: str) -> Path:
        made = self.folder / name
        run("cp", "--sparse=always", self.image, made)
        return made

    def files(self, image: Path) -> dict[bytes, dict[str, Any]]:
        """The root's files now."""
        with mounted(image, self.folder / "seen", START, SIZE, "ro", "noload") as root:
            return seen(root)

    def params(self, image: Path, *paths: str, **more: Any) -> dict[str, Any]:
        return {"repo": self.repo, "paths": [f"{self.point}:{path}" for path in paths], "into": str(image), **more}


def accident(root: Path) -> None:
    """What a customer does at night."""
    shutil.rmtree(root / "srv" / "www" / "deep")
    for name in ("index.html", "twin.html", "sparse", "abs", "tool", "null"):
        (root / "srv" / "www" / name).unlink()
    Path(os.fsdecode(os.fsencode(root) + b"/srv/www/\xff\xfe new\nline \x1b[31m")).unlink()
    (root / "etc" / "motd").write_text("HACKED, and longer than before\n")
    (root / "srv" / "www" / "abs").mkdir()


def planned(params: dict[str, Any]) -> Plan:
    engine = tasks.engine("backup-put")
    return engine.plan(convert(engine.params, params), Cancel())


def told(plan: Plan) -> dict[str, str]:
    return {change.target: change.summary for change in plan.changes if isinstance(change, BytesChange)}


def after(earlier: runs.Run, mode: str) -> AnyEvent:
    taken_up = runs.create(earlier.job(), earlier.info().target, mode=mode, earlier=earlier.id)
    return perform(taken_up, tasks.engine("backup-put"), confirm=AGREED)


def killed(params: dict[str, Any], moment: type[AnyEvent], step: str) -> tuple[runs.Run, Plan]:
    """A put whose process is gone by SIGKILL at that moment of that step."""
    engine = tasks.engine("backup-put")
    given = convert(engine.params, params)
    run_ = runs.create(Job(task=engine.name, params=plain(given)), given.into)
    child = os.fork()
    if child == 0:
        now = ""

        def listen(entry: Entry) -> None:
            nonlocal now
            now = entry.event.step if isinstance(entry.event, StepStarted) else now
            if now == step and isinstance(entry.event, moment):
                os.kill(os.getpid(), signal.SIGKILL)

        perform(run_, engine, plan=engine.plan(given, Cancel()), listen=listen, confirm=AGREED)
        os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    plan = run_.plan()
    assert plan is not None
    return run_, plan
