"""What every page of the frame has in common."""

from __future__ import annotations

from dataclasses import dataclass

from textual.containers import Vertical
from textual.message import Message

from engines.job.jobfile import Job
from engines.job.runs import Run


class Page(Vertical):
    """One step of the frame. `heading` stands at the left; `about` on the line below while no field has more to say."""

    DEFAULT_CSS = """
    Page { padding: 0 1; }
    """

    @dataclass
    class Turn(Message):
        """Go `by` pages on or back from `page`; said of a page that has already been left, it means nothing."""

        page: Page
        by: int

    @dataclass
    class Why(Message):
        """The words for the line under the page."""

        text: str

    @dataclass
    class Fault(Message):
        """A field at fault, to be shown on the page that has it."""

        param: str
        words: str

    class Leave(Message):
        """Leave the frame."""

    @dataclass
    class FollowUp(Message):
        """Take `run` up (resume) or back (undo)."""

        run: Run
        mode: str

    @dataclass
    class ReadReport(Message):
        """Show the report of `run`."""

        run: Run

    @dataclass
    class Again(Message):
        """Open the wizard with an earlier job's parameters."""

        job: Job

    def __init__(self, heading: str, about: str = "") -> None:
        super().__init__()
        self.heading = heading
        self.about = about

    def arrive(self) -> None:
        """The page is shown: put the focus where it belongs."""
        self.post_message(self.Why(self.about))

    def depart(self) -> None:
        """The page is left: end what it began."""

    def back(self) -> None:
        """Escape or ctrl+o."""
        self.post_message(self.Turn(self, -1))

    def unsaved(self) -> bool:
        """Whether leaving loses something that was typed."""
        return False
