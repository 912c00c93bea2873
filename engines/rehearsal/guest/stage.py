"""The rehearsal of virtio: a CentOS 5 guest of today, to move from hda to vda."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT

if TYPE_CHECKING:
    from engines.rehearse import Staged


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:
    """A guest in `folder`, and the job that converts it with a boot test."""
    from engines.job.jobfile import Job
    from engines.rehearse import Staged

    image = build(DEFAULT, folder / "centos5.img")
    yield Staged(job=Job(task="virtio", params={"image": str(image)}))
