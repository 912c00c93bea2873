"""A guest on hda."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from engines import tasks
from engines.guest import operation
from engines.job.jobfile import Job
from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT
from tests.contract.target import Case, Target, named


@cache
def guest_made() -> Path:
    """One small guest on hda; building it takes longer than to copy it."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    build(DEFAULT, folder / "guest.img")
    return folder / "guest.img"


@contextmanager
def converted(folder: Path) -> Iterator[Target]:
    """A guest on hda."""
    image = folder / "guest.img"
    subprocess.run(["cp", "--sparse=always", guest_made(), image], check=True)
    job = Job(task="virtio", params={"image": str(image), "boot_test": False})
    yield Target(tasks.engine("virtio"), job, lambda: hashlib.sha256(image.read_bytes()).hexdigest())
    operation.kept.close_all()


CASES = (
    Case(
        "virtio",
        named("virtio"),
        converted,
        ({"image": "/nowhere"}, {"image": "/etc/hostname"}, {"from_disk": "sdq"}),
        moments=2,
    ),
)
