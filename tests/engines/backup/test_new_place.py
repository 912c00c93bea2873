"""Nothing new is made below /dev, /proc and /sys, whichever verb would make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines import tasks
from engines.job.contract import Cancel
from engines.job.errors import Refused
from engines.job.params import convert
from tests.engines.backup import lab

Words = dict[str, Any]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Words:
    """A repository with one point."""
    folder = tmp_path_factory.mktemp("place")
    repo = lab.init(folder / "repo")
    return {"repo": repo, "point": lab.backup(repo, lab.disk(folder / "disk", {0: 1}, lab.MIB))}


@pytest.mark.parametrize("where", ["/dev/new", "/dev/mapper/new", "/proc/new", "/sys/new"])
@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("backup-restore", "target"),
        ("backup-init", "repo"),
        ("backup-get", "dest"),
        ("backup-mount", "folder"),
        ("backup-export", "file"),
        ("backup-serve", "nbd"),
    ],
)
def test_no_verb_makes_anything_among_devices(where: str, task: str, key: str, staged: Words) -> None:
    params = {**staged, key: where}
    if task == "backup-init":
        del params["point"]
    if task == "backup-get":
        params["paths"] = [f"{params.pop('point')}:/"]
    engine = tasks.engine(task)
    with pytest.raises(Refused, match="memory of this machine") as refused:
        engine.plan(convert(engine.params, params), Cancel())
    assert where in refused.value.why
    assert refused.value.what_helps
    assert not Path(where).exists()


def test_a_link_to_devices_is_no_way_round(tmp_path: Path) -> None:
    (tmp_path / "vg").symlink_to("/dev/mapper")
    engine = tasks.engine("backup-init")
    with pytest.raises(Refused, match="memory of this machine"):
        engine.plan(convert(engine.params, {"repo": str(tmp_path / "vg" / "new")}), Cancel())
