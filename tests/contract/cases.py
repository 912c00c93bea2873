"""The tasks that the contract suite holds to their promises, each with a target made for it."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engines import tasks
from engines.job.contract import Engine
from engines.job.jobfile import Job
from engines.job.params import Params, convert
from engines.rehearsal import disk, firmware
from tests.contract.copier import Copier
from tests.engines.backup import lab as backup_lab


@dataclass(frozen=True)
class Case:
    """One task. `stage` fills an empty folder and gives the parameters; `wrong` changes them into refusals."""

    name: str
    engine: Callable[[], Engine[Any]]
    stage: Callable[[Path], dict[str, Any]]
    wrong: tuple[dict[str, Any], ...]

    def job(self, folder: Path) -> Job:
        folder.mkdir(parents=True, exist_ok=True)
        return Job(task=self.engine().name, params=self.stage(folder))

    def params(self, job: Job) -> Params:
        params: Params = convert(self.engine().params, job.params)
        return params


def copied(folder: Path) -> dict[str, Any]:
    (folder / "source").write_text("cold console")
    (folder / "out").write_text("warm bed")
    return {"source": str(folder / "source"), "output": str(folder / "out"), "warn": True}


def copied_anew(folder: Path) -> dict[str, Any]:
    return {**copied(folder), "output": str(folder / "new")}


@cache
def firmware_made() -> Path:
    """One rehearsal package for all cases: assembling and packing it takes longer than a build."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    firmware.make(folder)
    return folder


def disc(folder: Path) -> dict[str, Any]:
    shutil.copytree(firmware_made(), folder, dirs_exist_ok=True)
    return {
        "firmware": str(folder / "x9scm2_608.zip"),
        "dos": str(folder / "probe" / "BTDSK.IMG"),
        "output": str(folder / "out" / "bios.iso"),
        "board": "X9SCM-F",
    }


def disc_over_a_file(folder: Path) -> dict[str, Any]:
    params = disc(folder)
    Path(params["output"]).write_bytes(b"an older disc")
    return params


def biosiso() -> Engine[Any]:
    return tasks.engine("biosiso")


def lab(folder: Path) -> dict[str, Any]:
    """One curl against one reset: a lab of half a second."""
    given = {"clients": ["curl"], "faults": ["rst"], "ladder": "short", "runs": 1, "cap": 10}
    return {**given, "output": str(folder / "table.yaml")}


def failover() -> Engine[Any]:
    return tasks.engine("failover")


def repository(folder: Path) -> dict[str, Any]:
    """A backup repository that is to be made."""
    (folder / "beside").write_text("not ours")
    return {"repo": str(folder / "repo")}


def restored(folder: Path) -> dict[str, Any]:
    """A disk of three points, restored to a new file."""
    params = disk.make(folder)
    return {"repo": params["repo"], "point": f"{disk.VM}/{disk.DISK}@latest", "target": str(folder / "new")}


def pruned(folder: Path) -> dict[str, Any]:
    """Two of three points taken out."""
    return {"repo": disk.make(folder)["repo"], "keep_last": 1}


@cache
def point_made() -> tuple[Path, str]:
    """A repository with one point of a small ext4 disk, and the point's name."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "tree/etc").mkdir(parents=True)
    for name in ("etc/hosts", "etc/motd", "readme"):
        (folder / "tree" / name).write_text(name * 1000)
    image = folder / "image"
    words = ["mkfs.ext4", "-q", "-d", str(folder / "tree"), str(image), "4M"]
    subprocess.run(words, check=True, capture_output=True)
    repo = backup_lab.init(folder / "repo")
    return Path(repo), backup_lab.backup(repo, image)


def taken(folder: Path) -> dict[str, Any]:
    """A few files out of a point, beside one that is there."""
    repo, point = point_made()
    shutil.copytree(repo, folder / "repo")
    (folder / "out").mkdir()
    (folder / "out/mine").write_text("not the guest's")
    return {"repo": str(folder / "repo"), "paths": [f"{point}:/etc", "/readme"], "dest": str(folder / "out")}


def archived(folder: Path) -> dict[str, Any]:
    """The same as an archive."""
    return {**taken(folder), "dest": str(folder / "out.tar"), "tar": True}


CASES = (
    Case("copier", Copier, copied, ({"source": "/nowhere"},)),
    Case("copier anew", Copier, copied_anew, ({"source": "/nowhere"},)),
    Case(
        "biosiso", biosiso, disc, ({"firmware": "/nowhere"}, {"dos": ""}, {"output": "/nowhere/x.iso"}, {"rom": "x.1"})
    ),
    Case("biosiso over a file", biosiso, disc_over_a_file, ({"board": "X9SCM-iiF"}, {"switches": "/X"})),
    Case("backup init", lambda: tasks.engine("backup-init"), repository, ({"repo": "/nowhere/x"}, {"repo": "/etc"})),
    Case(
        "backup restore",
        lambda: tasks.engine("backup-restore"),
        restored,
        ({"repo": "/nowhere"}, {"point": "web9/disk0@latest"}, {"point": "x"}, {"target": "/nowhere/x"}),
    ),
    Case(
        "backup get",
        lambda: tasks.engine("backup-get"),
        taken,
        ({"repo": "/nowhere"}, {"paths": ["web9/disk0@latest:/"]}, {"paths": ["x"]}, {"dest": "/nowhere/x"}),
    ),
    Case(
        "backup get --tar",
        lambda: tasks.engine("backup-get"),
        archived,
        ({"repo": "/nowhere"}, {"paths": ["/etc"]}, {"dest": "/etc"}, {"dest": "/nowhere/x"}),
    ),
    Case("backup prune", lambda: tasks.engine("backup-prune"), pruned, ({"keep_last": 0}, {"repo": "/nowhere"})),
    Case("failover", failover, lab, ({"clients": ["mosaic"]}, {"faults": ["fire"]}, {"output": "/etc/hostname"})),
)


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file below `folder`: mode, mtime in ns, SHA-256."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path.is_symlink())
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_mtime_ns if path.is_file() else 0, content)
    return found


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its SHA-256."""
    return {name: seen[2] for name, seen in snapshot(folder).items()}
