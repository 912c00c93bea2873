"""What was typed so far, and the job it makes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engines.job import earlier
from engines.job.contract import Engine, Plan
from engines.job.errors import BadParam
from engines.job.jobfile import Job
from engines.job.params import Field, Params, Secret, absolute, convert_one, fields
from engines.job.runs import Run

Raw = str | bool
OPENS = ("repo", "key_file")  # a key goes with its repository, so both are taken from one run


@dataclass
class Draft:
    """One walk through a wizard. `raw`: form texts by name; `chosen`: what was picked on the review page.

    remembered: the fields that begin as they were in the last run of the task. rows: by the words of a command,
    such as `backup init`, the row of the suite that does the same.
    """

    engine: Engine[Any]
    raw: dict[str, Raw] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    remembered: set[str] = field(default_factory=set)
    rows: Mapping[str, str] = field(default_factory=dict)
    touched: bool = False
    plan: Plan | None = None
    run: Run | None = None

    def fields(self) -> tuple[Field, ...]:
        """The task's parameters."""
        params: type[Params] = self.engine.params
        return fields(params)

    def job(self) -> Job:
        """The job as typed, paths absolute, without secrets and what is at its default. Raises BadParam."""
        params: dict[str, Any] = {}
        for declared in self.fields():
            value = None if declared.shape == "secret" else self.value(declared)
            if value is not None and value != declared.default:
                params[declared.name] = msgspec.to_builtins(value)
        return Job(task=self.engine.name, params=absolute(self.engine.params, params))

    def value(self, declared: Field) -> Any:
        """One parameter in its type, None where it was left to its default. Raises BadParam."""
        if declared.name in self.chosen:
            return convert_one(declared, self.chosen[declared.name])
        return typed(declared, self.raw.get(declared.name))

    def secrets(self) -> dict[str, Secret]:
        """The secrets that were typed; the run asks for one that was not."""
        texts = {known.name: self.raw.get(known.name) for known in self.fields() if known.shape == "secret"}
        return {name: Secret(text) for name, text in texts.items() if isinstance(text, str) and text}

    def prefill(self, params: Mapping[str, Any]) -> None:
        """Start from the parameters of an earlier job."""
        for declared in self.fields():
            if params.get(declared.name) is not None:
                self.raw[declared.name] = shown(declared, params[declared.name])

    def remember(self, names: Sequence[str]) -> None:
        """Begin with what those fields were in the last run of the task; a repository and its key, of its kin."""
        task, opens = self.engine.name, {*OPENS} & {*names}
        found = {name: value for name, value in earlier.last(task).items() if name not in OPENS} if names else {}
        if opens:
            found |= {name: value for name, value in earlier.last_with(task, OPENS[0]).items() if name in opens}
        kept = {name: value for name, value in found.items() if name in {*names}}
        self.prefill(kept)
        self.remembered = {name for name in kept if self.raw.get(name)}


def typed(declared: Field, raw: Raw | None) -> Any:
    """A form's text in the parameter's type; None where an optional one was left empty. Raises BadParam."""
    if raw is None or raw == "":
        if declared.required:
            raise BadParam(declared.name, raw, declared.allowed)
        return None
    if declared.shape == "secret":
        return Secret(str(raw))
    if declared.shape == "list" and isinstance(raw, str):
        return convert_one(declared, parts(raw))
    if isinstance(raw, str) and (declared.shape in ("int", "float") or declared.kind in ("file", "folder", "output")):
        raw = raw.strip()
    return convert_one(declared, raw)


def parts(text: str) -> list[str]:
    """The items of a list typed on one line: split at commas, "quotes" keep a comma."""
    row = next(csv.reader([text], skipinitialspace=True), [])
    return [item.strip() for item in row if item.strip()]


def shown(declared: Field, value: Any) -> Raw:
    """A value as its form shows it; `typed` gives the same value back."""
    if declared.shape == "flag":
        return bool(value)
    if declared.shape == "list":
        items = [value] if isinstance(value, str) else value or ()  # a job file need not make a list of one
        return ", ".join(quoted(str(item)) for item in items)
    return "" if value is None or declared.shape == "secret" else str(value)


def quoted(item: str) -> str:
    """One item of a list as `parts` reads it."""
    if "," not in item and '"' not in item:
        return item
    return '"' + item.replace('"', '""') + '"'
