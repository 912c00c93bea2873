"""Command-line options of a task, made from its declared parameters."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from engines.cli.examples import example
from engines.cli.usage import Parser
from engines.job.errors import BadParam
from engines.job.params import Field, Params, Secret, fields


def add(verb: Parser, cls: type[Params]) -> None:
    """Give `verb` one option a parameter; values stay text, so that `convert` has the one set of error words.

    What must be given stands first, in the usage line, the help and the example.
    """
    declared = fields(cls)
    verb.needed = [(field.flag, written(field)) for field in declared if field.required and not field.positional]
    places = " ".join(written(field) for field in declared if field.positional)
    flags = " ".join(text for _, text in verb.needed)
    verb.usage = " ".join(part for part in (verb.prog, places, flags, "[option ...]") if part)
    verb.epilog = f"example:\n  {example(verb.prog, cls)}"
    needed = verb.add_argument_group("needed") if verb.needed else verb
    for field in declared:
        parser = needed if field.required and not field.positional else verb
        if field.shape == "secret":
            parser.add_argument(f"{field.flag}-file", metavar="FILE", help=f"{field.why} (first line of a 0600 file)")
            parser.add_argument(f"{field.flag}-fd", metavar="N", type=int, help="the same from an open file descriptor")
            continue
        how: dict[str, Any] = {"help": _help(field)}
        if field.shape == "flag":
            how["action"] = argparse.BooleanOptionalAction
        else:
            how["metavar"] = "{" + ",".join(field.choices) + "}" if field.choices else field.metavar
        if field.shape == "list":
            how |= {"nargs": "+" if field.required else "*"} if field.positional else {"action": "append"}
        elif field.positional and not field.required:
            how["nargs"] = "?"
        if field.positional:
            parser.add_argument(field.name, **how)
        else:
            parser.add_argument(field.flag, dest=field.name, default=None, **how)


def written(field: Field) -> str:
    """How a parameter stands on a command line: `POINT`, `[SOURCE ...]`, `--vm VM`."""
    name = "{" + ",".join(field.choices) + "}" if field.choices else field.metavar
    if not field.positional:
        return f"{field.flag}-file FILE" if field.shape == "secret" else f"{field.flag} {name}"
    if field.shape == "list":
        return f"{name} [{name} ...]" if field.required else f"[{name} ...]"
    return name if field.required else f"[{name}]"


def lacking(cls: type[Params], found: dict[str, Any]) -> list[str]:
    """Every needed parameter that was not given, as it is written."""
    return [
        written(field)
        for field in fields(cls)
        if field.required and found.get(field.name) in (None, "") and f"{field.name}_file" not in found
    ]


def _help(field: Field) -> str:
    words = field.why
    if field.default not in (None, "", (), False):
        listed = ", ".join(map(str, field.default)) if field.shape == "list" else field.default
        words += f" (default: {'yes' if field.default is True else listed})"
    return words.replace("%", "%%")  # argparse formats help texts


def given(parsed: argparse.Namespace, cls: type[Params]) -> dict[str, Any]:
    """What the command line gave, as plain values; a secret as `<name>_file`, or opened where it came by descriptor."""
    found: dict[str, Any] = {}
    for field in fields(cls):
        if field.shape == "secret":
            path, number = getattr(parsed, f"{field.name}_file"), getattr(parsed, f"{field.name}_fd")
            if number is not None:
                found[field.name] = _from_descriptor(field.name, number)
            elif path:
                found[field.name + "_file"] = str(Path(path).absolute())
        elif (value := getattr(parsed, field.name)) not in (None, []):
            found[field.name] = value
    return found


def _from_descriptor(name: str, number: int) -> Secret:
    try:
        with os.fdopen(number, "rb", closefd=False) as stream:
            line = stream.readline(4096).decode("utf-8", "replace").rstrip("\r\n")
    except (OSError, ValueError, OverflowError, TypeError) as error:  # of a number that no descriptor has
        why = getattr(error, "strerror", None) or str(error)
        raise BadParam(f"{name}_fd", number, f"an open file descriptor ({why})") from None
    if not line:
        raise BadParam(f"{name}_fd", number, "a descriptor with the secret on its first line")
    return Secret(line)
