"""What Tab makes of a path that is being typed, as a shell would."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Completion:
    """What Tab makes of a path: the text it becomes, and the names it could still become.

    wrong: why there is nothing to complete, such as "no such name". whole: the text names something that exists.
    """

    text: str
    names: tuple[str, ...] = ()
    wrong: str = ""
    whole: bool = False


def complete(text: str, *, folders_only: bool) -> Completion:
    """The longest beginning that all fitting names share; an empty text names what lies in the current folder."""
    if "://" in text:
        return Completion(text, whole=True)
    if text.startswith("~") and "/" not in text:
        return _user(text)
    head, tail = os.path.split(text)
    folder = os.path.expanduser(head) or "."  # noqa: PTH111  pathlib raises where there is no such user
    try:
        fitting = _fitting(folder, tail, folders_only=folders_only)
    except OSError as error:
        return Completion(text, wrong=f"{head or 'this folder'}: {(error.strerror or str(error)).lower()}")
    if not fitting and folders_only and head and not tail:
        return Completion(text, whole=True)
    if not fitting:
        return Completion(text, wrong="nothing in it" if not tail else "no such name")
    shared = os.path.commonprefix(fitting)  # noqa: RUF071  a shell, too, completes by characters
    whole = shared in fitting and len(fitting) == 1
    return Completion(text[: len(text) - len(tail)] + shared, () if whole else tuple(fitting), whole=whole)


def _fitting(folder: str, tail: str, *, folders_only: bool) -> list[str]:
    with os.scandir(folder) as found:
        return sorted(
            entry.name + ("/" if entry.is_dir() else "")
            for entry in found
            if entry.name.startswith(tail)
            and (tail or not entry.name.startswith("."))
            and (entry.is_dir() or not folders_only)
        )


def _user(text: str) -> Completion:
    """`~` and `~user`: homes end with a slash, so that the next Tab looks into them."""
    if text == "~":
        return Completion("~/")
    names = sorted({f"~{known.pw_name}/" for known in pwd.getpwall() if known.pw_name.startswith(text[1:])})
    if not names:
        return Completion(text, wrong="no such user")
    shared = os.path.commonprefix(names)  # noqa: RUF071  by characters, as above
    return Completion(shared, tuple(names) if len(names) > 1 else ())


def choose(text: str, values: Sequence[str]) -> Completion:
    """The same for a value that is known by name instead of by path."""
    fitting = [value for value in values if value.startswith(text)]
    if not fitting:
        return Completion(text, wrong="no such name")
    shared = os.path.commonprefix(fitting)  # noqa: RUF071  by characters, as above
    whole = shared in fitting and len(fitting) == 1
    return Completion(shared, () if whole else tuple(fitting), whole=whole)


def last_item(text: str) -> tuple[str, str]:
    """A list that is being typed: what stands before its last item, and that item, its quotes taken off."""
    quoted, at = False, 0
    for place, char in enumerate(text):
        quoted ^= char == '"'
        at = place + 1 if char == "," and not quoted else at
    item = text[at:].lstrip()
    before = text[: len(text) - len(item)]
    if item.startswith('"'):
        item = item[1:].removesuffix('"').replace('""', '"') if not quoted else item[1:].replace('""', '"')
    return before, item


def as_item(item: str, *, whole: bool) -> str:
    """An item as a list keeps it: quoted where it has a comma; the quotes stay open while it is not whole."""
    if "," not in item and '"' not in item:
        return item
    return '"' + item.replace('"', '""') + ('"' if whole else "")
