"""Work beside the screen, in threads that quitting does not wait for: an appliance that starts takes half a minute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message
from textual.widget import Widget

from engines.job.errors import CrashcartError, Refused


@dataclass
class Told(Message):
    """What a task says: a part of its result, or (`over`) all of it, or what went wrong in the technician's words."""

    task: Task
    result: object = None
    error: str = ""
    over: bool = False
    refused: Refused | None = None


class Task:
    """One piece of work; `unwanted` once nobody waits for it any more."""

    def __init__(self, aside: Background, job: str) -> None:
        self._aside = aside
        self.job = job

    @property
    def unwanted(self) -> bool:
        """Whether it may stop."""
        return self._aside.newest.get(self.job) is not self

    def tell(self, part: object) -> None:
        """Give a part of the result to the screen."""
        self._aside.widget.post_message(Told(self, part))


class Background:
    """Starts work for one widget; work begun under a name makes unwanted what ran under that name before."""

    def __init__(self, widget: Widget) -> None:
        self.widget = widget
        self.newest: dict[str, Task] = {}

    def begin(self, job: str, work: Callable[[Task], object]) -> None:
        """Call `work` in a thread of its own."""
        self.newest[job] = task = Task(self, job)
        threading.Thread(target=self._run, args=(task, work), daemon=True, name=f"browse-{job}").start()

    def at_work(self, job: str) -> bool:
        """Whether such work is under way."""
        return job in self.newest

    def drop(self, job: str) -> None:
        """Wait for it no more."""
        self.newest.pop(job, None)

    def end(self) -> None:
        """Wait for nothing any more."""
        self.newest.clear()

    def wanted(self, told: Told) -> bool:
        """Whether anybody still waits for this; a task that is over is let go."""
        wanted = not told.task.unwanted
        if wanted and told.over:
            self.drop(told.task.job)
        return wanted

    def _run(self, task: Task, work: Callable[[Task], object]) -> None:
        told = Told(task, over=True)
        try:
            told.result = work(task)
        except CrashcartError as error:
            told.error = str(error)
            told.refused = error if isinstance(error, Refused) else None
        except (OSError, ValueError, RuntimeError) as error:
            told.error = f"{type(error).__name__}: {error}"
        self.widget.post_message(told)
