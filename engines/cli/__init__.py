"""The crashcart command: parse, call, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from engines.cli.acts import CALLS, RUNS
from engines.cli.parsing import parser
from engines.cli.usage import BadUsage, leftover, told
from engines.job.errors import Failed, Refused, Stopped, blameless
from engines.tasks import TASKS

FAILED = 1


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1, 2, 3, 4 or 130 as README.md says."""
    try:
        return _main(argv)
    except KeyboardInterrupt:  # while something was loaded, or an end was told
        return 130


def _main(argv: list[str] | None) -> int:
    from engines.host.streams import settle

    settle()
    words = sys.argv[1:] if argv is None else argv
    if not words:
        from engines.host.child import become

        become("tui")
    if words[0] == "complete":
        from engines.cli import completion

        return completion.answer(words[1:])
    if words[0] == "--version":
        from engines.host.version import version

        sys.stdout.write(f"crashcart {version()}\n")
        return 0
    if words[0] == "help":
        words = [*words[1:4], "--help"]
    words = _joined(words)
    as_json = "--json" in words
    try:
        return _run(words)
    except (Refused, Failed) as error:
        return told(error, as_json=as_json)
    except (KeyboardInterrupt, Stopped):
        return 130
    except Exception as error:  # noqa: BLE001  no traceback reaches a user; it goes to a file
        if isinstance(error, BrokenPipeError):
            return _reader_left()
        if failed := blameless(error):
            return _no_fault(failed, as_json=as_json)
        from engines.cli.narrate import crashed

        crashed(error)
        if as_json:
            told(Failed(f"unexpected: {type(error).__name__}: {error}"), as_json=True)
        return FAILED


def _joined(words: list[str]) -> list[str]:
    """`backup key add` is the verb key-add of backup."""
    if len(words) > 2 and words[0] in TASKS and words[1] in TASKS[words[0]].groups and not words[2].startswith("-"):
        return [words[0], f"{words[1]}-{words[2]}", *words[3:]]
    return words


def _run(words: Sequence[str]) -> int:
    parsed, rest = parser(words, CALLS).parse_known_args(words)
    if rest:
        raise leftover(parsed, rest)
    if words[0] in TASKS:
        TASKS[words[0]].sweep()
    code: int = parsed.call(parsed)
    _heard(run=parsed.call in RUNS)
    return code


def _no_fault(failed: Failed, *, as_json: bool) -> int:
    """Said, and nothing of what is left in stdout's buffer, which would fail again at exit."""
    _silence()
    return told(failed, as_json=as_json)


def _reader_left() -> int:
    """Whoever read stdout has gone: no fault. The interpreter flushes once more at exit, into nothing."""
    _silence()
    return 0


def _heard(*, run: bool) -> None:
    """Have an answer lie where stdout leads to before it is called done; a run was done, whoever hears of it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has gone; the verdict stands
        _silence()
    except OSError as error:
        if not run:
            raise OSError(error.errno, error.strerror, "where stdout leads to") from None
        _silence()


def _silence() -> None:
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


__all__ = ["BadUsage", "main"]

if __name__ == "__main__":
    raise SystemExit(main())
