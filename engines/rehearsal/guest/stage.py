"""The rehearsal of virtio: a CentOS 5 guest of today, to move from hda to vda."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT

if TYPE_CHECKING:
    from engines.rehearsal.stage import Staged


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:
    """A fresh guest in `folder`, where earlier ones may still be at work, and the job that converts it."""
    from engines.job.jobfile import Job
    from engines.rehearsal.stage import Staged

    image = next(path for number in count(1) if not (path := folder / f"centos5-{number}.img").exists())
    build(DEFAULT, image)
    yield Staged(job=Job(task="virtio", params={"image": str(image)}))
