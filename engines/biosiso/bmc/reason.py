"""The reason inside a Redfish error (DSP0266, 8.6), in whichever form a BMC gives it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

NUMBERED = re.compile(r"%([1-9]\d?)")  # DSP0266 9.5: where an argument goes in a message


class _Error(msgspec.Struct):
    """What a refusal says; of its parts every form is met in the field (DSP0266, 8.6, has lists of texts)."""

    message: Any = None
    more: Any = msgspec.field(name="@Message.ExtendedInfo", default=None)


def reason(tree: Any) -> str:
    """What an answer's JSON says in words, empty where it says nothing. Raises ValueError where it is no error.

    Some BMCs leave the object `error` out, or have a text in its place.
    """
    said = tree.get("error", tree) if isinstance(tree, dict) else tree
    if isinstance(said, str):
        return said
    error = msgspec.convert(said, _Error)
    more = error.more if isinstance(error.more, list) else [error.more]
    return " ".join([text for part in more if (text := _told(part))] or [_one(error.message)])


def _told(part: Any) -> str:
    """One entry of ExtendedInfo in words, with the names that the words leave out; of any other form, what it says."""
    if not isinstance(part, dict):
        return _one(part)
    words = _one(part.get("Message")) or _one(part.get("MessageId"))
    args = _each(part.get("MessageArgs"))
    words = NUMBERED.sub(lambda found: args[at] if (at := int(found[1]) - 1) < len(args) else found[0], words)
    names = [*args, *(one.rpartition("/")[2] for one in _each(part.get("RelatedProperties")))]
    left = [name for name in dict.fromkeys(names) if name and name not in words]
    return f"{words} ({', '.join(left)})" if left and words else words


def _each(value: Any) -> list[str]:
    """A list as it should be, or one thing in its place; what cannot be read keeps its place, empty."""
    return [_one(item) for item in (value if isinstance(value, list) else [value])]


def _one(value: Any) -> str:
    """A text, a number, or the path in a link; empty for anything else."""
    if isinstance(value, dict):
        value = value.get("@odata.id")
    return str(value) if isinstance(value, str | int | float) else ""
