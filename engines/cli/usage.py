"""Errors of a command line: what was meant, everything that is missing at once, as words or as one JSON object."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from engines.job.errors import BadParam, CrashcartError, Failed, Refused, meant

FAILED = 1
USAGE = 2
REFUSED = 3
WIDTH = 80  # columns of a console


class BadUsage(Refused):
    """The command line itself will not do."""


class Parser(argparse.ArgumentParser):
    """argparse, whose errors name the nearest right word and the next action."""

    words: Sequence[str] = ()
    needed: Sequence[tuple[str, str]] = ()
    """Options that must be given, as (--flag, how it is written)."""

    def format_help(self) -> str:
        """Lines of at most 80 columns, those that argparse takes as they are, too."""
        return "\n".join(fitted(line) for line in super().format_help().split("\n"))

    def error(self, message: str) -> NoReturn:
        """Raise BadUsage."""
        lacking = re.fullmatch(r"the following arguments are required: (.*)", message)
        if lacking:
            raise missing(self.prog, [*lacking[1].split(", "), *absent(self.needed, self.words)])
        if wrong := re.fullmatch(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message):
            known = re.findall(r"'([^']*)'", wrong[3]) or wrong[3].split(", ")  # newer argparse has no quotes
            raise self._choice(wrong[1], wrong[2], known)
        if wrong := re.fullmatch(r"argument (\S+): invalid (int|float) value: '(.*)'", message):
            kind = "whole number" if wrong[2] == "int" else "number"
            raise BadUsage(f"{wrong[1]} is {wrong[3]!r}, allowed is a {kind}", f"see: {self.prog} --help")
        ambiguous = re.match(r"ambiguous option: (\S+) could match", message)
        if ambiguous and (bare := by_place(self, ambiguous[1].partition("=")[0])):
            raise bare
        raise BadUsage(message, f"see: {self.prog} --help")

    def _choice(self, option: str, word: str, known: Sequence[str]) -> BadUsage:
        helps = meant(word, known)
        why = f"{option} is {word!r}, allowed is one of {', '.join(known)}"
        return BadUsage(why, f"{helps}{'; ' if helps else ''}see: {self.prog} --help")


def fitted(line: str) -> str:
    """A line of help in 80 columns; a command goes on behind a backslash, so that it can be pasted as it stands."""
    if len(line) <= WIDTH or not line.strip():
        return line
    command = line.startswith("  crashcart ")
    words = re.findall(r"(?:'[^']*'|\S)+", line)
    rows = [line[: len(line) - len(line.lstrip())] + words[0]]
    for word in words[1:]:
        if len(rows[-1]) + 1 + len(word) + 2 * command > WIDTH:
            rows.append("      " + word if command else "  " + word)
        else:
            rows[-1] += f" {word}"
    return (" \\\n" if command else "\n").join(rows)


def by_place(parser: argparse.ArgumentParser, word: str) -> BadUsage | None:
    """The error where what stands by its place was given like an option."""
    named = word.removeprefix("--").replace("-", "_")
    if named not in [action.dest for action in parser._actions if not action.option_strings]:  # no public way
        return None
    helps = f"leave {word} out, as in: {parser.usage}; see: {parser.prog} --help"
    return BadUsage(f"{parser.prog} knows {named} by its place, without {word}", helps)


def absent(needed: Iterable[tuple[str, str]], words: Iterable[str]) -> list[str]:
    """The needed options that none of the words gives, in full or by their beginning."""
    given = [word.partition("=")[0] for word in words if word.startswith("--") and len(word) > 2]
    return [written for flag, written in needed if not any(_gives(word, flag) for word in given)]


def _gives(word: str, flag: str) -> bool:
    return flag.startswith(word) or word in (f"{flag}-file", f"{flag}-fd")


def missing(prog: str, what: Sequence[str]) -> BadUsage:
    """All that is missing, in one error."""
    return BadUsage(f"needed, and not given: {', '.join(what)}", f"see: {prog} --help")


def unknown(prog: str, kind: str, word: str, known: Sequence[str]) -> BadUsage:
    """A word that is none of those known."""
    helps = meant(word, known) or (f"allowed are {', '.join(known)}" if len(known) < 30 else "")
    return BadUsage(f"{word!r} is no {kind} of {prog}", f"{helps}{'; ' if helps else ''}see: {prog} --help")


def leftover(parsed: argparse.Namespace, rest: Sequence[str]) -> BadUsage:
    """Words that the command does not know."""
    leaf: argparse.ArgumentParser = parsed.leaf
    flags = [flag for action in leaf._actions for flag in action.option_strings]  # no public way
    word = rest[0].partition("=")[0]
    if word.startswith("-"):
        if bare := by_place(leaf, word):
            return bare
        helps = meant(word, flags)
        return BadUsage(f"{leaf.prog} has no option {word}", f"{helps}{'; ' if helps else ''}see: {leaf.prog} --help")
    return BadUsage(f"{leaf.prog} takes no {word!r}", f"see: {leaf.prog} --help")


def told(error: CrashcartError, *, as_json: bool) -> int:
    """Say an error on stderr, with --json also as one object on stdout; gives the exit code."""
    code = FAILED if not isinstance(error, Refused) else USAGE if isinstance(error, BadParam | BadUsage) else REFUSED
    if isinstance(error, Refused | Failed):
        from engines.cli.narrate import refuse

        refuse(error)
    if as_json:
        import msgspec

        sys.stdout.write(msgspec.json.encode({"error": shaped(error, code)}).decode() + "\n")
    return code


def shaped(error: CrashcartError, code: int) -> dict[str, Any]:
    """An error as plain values; `param` names the parameter at fault, empty where it is none."""
    kind = {FAILED: "failed", USAGE: "usage", REFUSED: "refused"}[code]
    return {
        "kind": kind,
        "code": code,
        "why": getattr(error, "why", str(error)),
        "what_helps": getattr(error, "what_helps", ""),
        **({"lines": lines} if (lines := getattr(error, "lines", ())) else {}),
        "param": getattr(error, "name", ""),
    }
