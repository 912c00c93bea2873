"""What is wrong with a field, in the words of a form: no job-file syntax, no command-line option."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from engines.job.errors import BadParam
from engines.job.params import Field
from tui.draft import Raw, parts, typed

NEEDED = {"file": "a file", "folder": "a folder", "output": "a name for what is made", "host": "a host name"}
OPTION = re.compile(r"(?<![\w-])--(no-)?([a-z][a-z-]*)")


def fault(declared: Field, raw: Raw) -> str:
    """Why a field will not do as it stands; empty where it will."""
    if raw == "" and declared.required:
        return f"needed: {needed(declared)}"
    try:
        typed(declared, raw)
    except BadParam as bad:
        return refused(declared, bad)
    if declared.kind not in ("file", "folder", "output") or not isinstance(raw, str):
        return ""
    paths = parts(raw) if declared.shape == "list" else [raw.strip()]
    return next((words for path in paths if (words := misplaced(declared.kind, path))), "")


def needed(declared: Field) -> str:
    """What the field takes, such as `a folder` or `a whole number from 0 to 9`."""
    if declared.kind in NEEDED:
        return NEEDED[declared.kind]
    plain = {"text": "some text", "list": "one or more, with commas between", "secret": "a secret"}
    generic = declared.allowed.startswith(("text (", "a list of texts"))
    return plain.get(declared.shape, declared.allowed) if generic else declared.allowed


def refused(declared: Field, bad: BadParam) -> str:
    """An engine's or a type's refusal of this field's value."""
    if declared.shape == "secret":
        return f"needed: {needed(declared)}"
    allowed = needed(declared) if bad.allowed == declared.allowed else bad.allowed
    if bad.value in (None, ""):
        return f"needed: {allowed}"
    return f"{bad.value} will not do; needed: {allowed}"


def said(param: str, why: str) -> str:
    """A refusal of one parameter without the parameter's name in the job file: it stands under its field."""
    start, allowed = f"{param} is ", ", allowed is "
    if not param or not why.startswith(start) or allowed not in why:
        return why
    value, _, needs = why[len(start) :].partition(allowed)
    return f"needed: {needs}" if value == "nothing" else f"{value.strip(chr(39))} will not do; needed: {needs}"


def misplaced(kind: str, path: str) -> str:
    """Whether a path leads somewhere: `no such file`, `needed: a folder`; empty where it does."""
    if path in ("", "-") or "://" in path:
        return ""
    there = os.path.expanduser(path)  # noqa: PTH111  pathlib raises where there is no such user
    if there.startswith("~"):
        return f"no such user: {path.partition('/')[0]}"
    if kind == "output":
        parent = os.path.dirname(os.path.abspath(there))  # noqa: PTH100, PTH120  as text: nothing is resolved
        return "" if os.path.isdir(parent) else f"no such folder: {parent}"  # noqa: PTH112  as above
    if not os.path.exists(there):  # noqa: PTH110  pathlib raises where a name is too long
        return f"no such {kind}"
    if kind == "folder" and not os.path.isdir(there):  # noqa: PTH112  as above
        return "that is no folder; needed: a folder"
    return ""


def in_labels(text: str, fields: Iterable[Field]) -> str:
    """Words of an engine with its options named as the form names them: `--keep-daily 7` -> `Keep daily 7`."""
    labels = {field.name: field.label for field in fields}

    def label(found: re.Match[str]) -> str:
        name = found[2].replace("-", "_")
        if name not in labels:
            return found[0]
        return f'"{labels[name]}"' + (" off" if found[1] else "")

    return OPTION.sub(label, text)
