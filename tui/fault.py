"""What is wrong with a field, in the words of a form: no job-file syntax, no command-line option."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from engines.job.errors import BadParam
from engines.job.params import Field
from tui.draft import Raw, parts, typed

NEEDED = {"file": "a file", "folder": "a folder", "output": "a name for what is made", "host": "a host name"}
OPTION = re.compile(
    r"(?<![\w-])--(no-)?([a-z][a-z-]*)(?: [A-Z]+(?:\.\w+)?\b)?"
)  # with the word that stands for its value
SECRETLY = ("file", "fd")  # how a command line takes a secret
REPOSITORIES = ("repo", "to")
NONE_YET = '; "New repository" makes one'
LONGEST = 255  # bytes of a file's name
SHORT = 3  # letters up to which a word in capitals may be a name: DOS, ROM, IP
GENERIC = {
    "text (in quotes where it looks like a number)": "some text",
    "a list of texts": "one or more, with commas between",
    "yes or no (true, false)": "yes or no",
}


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
    words = next((words for path in paths if (words := misplaced(declared.kind, path))), "")
    return words + (NONE_YET if words and declared.kind == "folder" and declared.name in REPOSITORIES else "")


def needed(declared: Field) -> str:
    """What the field takes, such as `a folder` or `a whole number from 0 to 9`."""
    if declared.kind in NEEDED:
        return NEEDED[declared.kind]
    if declared.shape == "secret":
        return "a secret"
    return GENERIC.get(declared.allowed, declared.allowed)


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
    needs = GENERIC.get(needs, needs)
    return f"needed: {needs}" if value == "nothing" else f"{value.strip(chr(39))} will not do; needed: {needs}"


def misplaced(kind: str, path: str) -> str:
    """Whether a path leads somewhere: `no such file`, `needed: a folder`; empty where it does."""
    if path in ("", "-") or ("://" in path and kind != "file"):
        return ""
    there = os.path.expanduser(path)  # noqa: PTH111  pathlib raises where there is no such user
    if there.startswith("~"):
        return f"no such user: {path.partition('/')[0]}"
    if any(len(part.encode("utf-8", "surrogatepass")) > LONGEST for part in there.split("/")):
        return f"a name in it is longer than {LONGEST} bytes"
    if kind == "output":
        parent = os.path.dirname(os.path.abspath(there))  # noqa: PTH100, PTH120  as text: nothing is resolved
        return "" if os.path.isdir(parent) else f"no such folder: {parent}"  # noqa: PTH112  as above
    if not os.path.exists(there):  # noqa: PTH110  pathlib raises where a name is too long
        return f"no such {kind}"
    if kind == "folder" and not os.path.isdir(there):  # noqa: PTH112  as above
        return "that is no folder; needed: a folder"
    return ""


def told(why: str, what_helps: str, param: str, fields: Iterable[Field], rows: Mapping[str, str]) -> tuple[str, str]:
    """A refusal of the engine and what helps, as the form would say it.

    fields: those that the form asks for. rows: by a command's words, such as `backup init`, the row that does it.
    """
    asked = tuple(fields)
    why = in_labels(_placed(said(param, why), asked if param else ()), asked)
    if what_helps == f"correct {param}":
        return why, ""
    clauses = (in_labels(_placed(_rowed(one, rows), asked), asked) for one in what_helps.split("; "))
    return why, "; ".join(
        one for one in clauses if "--help" not in one and ("crashcart " in one or not OPTION.search(one))
    )


def _rowed(clause: str, rows: Mapping[str, str]) -> str:
    """`make one: crashcart backup init /srv/repo` -> `make one: "New repository" under backup`."""
    start, command, words = clause.partition("crashcart ")
    known = max((one for one in rows if f"{words} ".startswith(f"{one} ")), key=len, default="")
    return f"{start}{rows[known]}" if command and known and "--help" not in words else clause


def _placed(text: str, fields: Iterable[Field]) -> str:
    """`give SOURCE` -> `give "Disk"`: what stands in a place of the command line is a field here."""
    for field in fields:
        if field.positional and len(field.metavar) > SHORT:
            text = re.sub(rf"\b{re.escape(field.metavar)}\b", f'"{field.label}"', text)
    return text


def in_labels(text: str, fields: Iterable[Field]) -> str:
    """Words of an engine with its options named as the form names them: `--add FILE` -> `"Add"`.

    A command that is to be typed in a shell stays as it is.
    """
    if "crashcart " in text:
        return text
    labels = {field.name: field.label for field in fields}
    labels |= {f"{field.name}_{how}": field.label for field in fields if field.shape == "secret" for how in SECRETLY}

    def label(found: re.Match[str]) -> str:
        name = found[2].replace("-", "_")
        if name not in labels:
            return found[0]
        return f'"{labels[name]}"' + (" off" if found[1] else "")

    return OPTION.sub(label, text)
