"""A task as pages: which of its parameters stand together, and why the technician is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from textual.screen import Screen

from engines import tasks
from engines.job.contract import Engine
from engines.job.errors import Refused
from engines.job.params import Field, Params, fields
from tui.pages.run import RunPage
from tui.stage import Stages


class Form:
    """One page of fields, named as the parameters are; `twice` names new secrets, which are typed two times."""

    def __init__(self, title: str, *names: str, why: str, twice: tuple[str, ...] = ()) -> None:
        self.title = title
        self.names = names
        self.why = why
        self.twice = twice


@dataclass(frozen=True)
class Door:
    """A row of a section that opens a screen of its own instead of a wizard."""

    name: str
    title: str
    why: str
    open: Callable[[Stages], Screen[None]]


@dataclass(frozen=True)
class Section:
    """Tasks that share one row on the home screen; its doors stand before its wizards, `after` behind them."""

    name: str
    title: str
    why: str
    doors: tuple[Door, ...] = ()
    after: tuple[Door, ...] = ()


class Wizard:
    """The forms of a task, in the order they are filled in; review, run and result follow by themselves.

    task: the job file's `task`. title: its line on the home screen, where the task package's own will not do.
    live: the run page, for a task whose readings deserve more than a log; a subclass of RunPage overrides
    `measured`, which gets every Measured event of the run.
    keeps: fields that begin as in the last run; never what a run changes, nor what was agreed to for it.
    under: the section that lists it, under `name`; a section's wizard without a name is on no list, a screen opens it.
    """

    def __init__(
        self,
        task: str,
        *forms: Form,
        title: str = "",
        live: type[RunPage] = RunPage,
        under: Section | None = None,
        name: str = "",
        keeps: tuple[str, ...] = (),
    ) -> None:
        self.task = task
        self.under = under
        self.name = name
        self.title = title or tasks.TASKS[task].title
        self.forms = forms
        self.live = live
        self.keeps = keeps

    @property
    def why(self) -> str:
        """The line under the task on the home screen."""
        return (
            "Asks about: "
            + ", ".join(form.title.lower() for form in self.forms)
            + ". Nothing is touched before you start it."
        )

    @cached_property
    def engine(self) -> Engine[Any]:
        """The task's engine, loaded when it is first needed."""
        return tasks.engine(self.task)

    def fields(self, form: Form) -> tuple[Field, ...]:
        """The declared fields of one page. Raises Refused where the form names one that the task lacks."""
        params: type[Params] = self.engine.params
        known = {field.name: field for field in fields(params)}
        for name in form.names:
            if name not in known:
                raise Refused(f"form {form.title} names {name!r}, which {self.task} lacks", "correct the wizard module")
        return tuple(known[name] for name in form.names)
