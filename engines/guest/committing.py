"""The last two steps of every operation on an image: the original bytes are saved, then the new ones are written."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from engines.guest.surgery import UNDO, Surgery
from engines.job.contract import AnyEvent, Log, Progress, Step, StepEnded, StepStarted

SAVE = Step(id="save", title="Save the original bytes")
COMMIT = Step(id="commit", title="Write the image", no_stop="the image is between two states; it takes seconds")

Work = Generator[AnyEvent, str | None, None]


def told(step: Step, work: Work) -> Work:
    """`work` between the step's start and its end."""
    yield StepStarted(step=step.id)
    yield from work
    yield StepEnded(step=step.id)


def save(surgery: Surgery, folder: Path, result: dict[str, Any]) -> Work:
    """The undo log into the run's folder; the image is still untouched. Raises Refused."""
    manifest = surgery.prepare(folder / UNDO)
    result["bytes_changed"] = manifest.total
    result["undo_log"] = str(folder / UNDO)
    yield Log(text=f"{manifest.total} bytes in {len(manifest.extents)} places will change; their originals are saved")


def commit(surgery: Surgery) -> Work:
    """Write the image and read it back."""
    assert surgery.log is not None
    total = surgery.log.manifest().total
    for written in surgery.commit():
        yield Progress(done=written, total=total)
