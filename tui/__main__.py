"""`python -m tui`: settle what the terminal can do, then open the suite."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tui import console

if TYPE_CHECKING:
    from tui.wizard import Wizard


def main(argv: Sequence[str], wizards: Callable[[], Sequence[Wizard]] | None = None) -> int:
    """Run the suite to its end; `wizards` stands in for the shipped ones."""
    parser = argparse.ArgumentParser(prog="crashcart", description="maintenance tasks, one screen at a time")
    looks = parser.add_mutually_exclusive_group()
    looks.add_argument("--plain", action="store_true", help="ASCII and 16 colours, remembered for this terminal")
    looks.add_argument("--rich", action="store_true", help="everything a good terminal has, remembered likewise")
    parser.add_argument("--attach", metavar="RUN", default="", help="show this run")
    given = parser.parse_args(argv)
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        sys.stderr.write("crashcart: no terminal here; each task also runs without one: crashcart --help\n")
        return 2
    terminal = console.here(os.environ)
    if given.plain or given.rich:
        terminal = terminal.plain() if given.plain else terminal.rich()
        console.remember(terminal, given.plain)
    console.prepare(terminal, os.environ)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # begun from what ignores it, the screen would outlive its line
    return _open(terminal, wizards, given.attach)


def _open(terminal: console.Terminal, wizards: Callable[[], Sequence[Wizard]] | None, attach: str) -> int:
    from engines.job import runs
    from engines.job.errors import Refused
    from tui.app import Suite  # imported late: Textual reads the environment that was just prepared

    try:
        found = runs.find(attach).id if attach else ""
    except Refused as refused:
        sys.stderr.write(f"crashcart: {refused}\n")
        return 3
    if wizards is None:
        from wizards import WIZARDS

        app = Suite(WIZARDS, terminal, found)
    else:
        app = Suite(wizards(), terminal, found)
    gc.freeze()  # what is here now stays; a collection over all of it, amid a long folder, holds every thread up
    said = app.run(mouse=terminal.mouse)
    # Terminals that do not know Textual's last control sequence print its letter; a line of its own hides it.
    sys.stdout.write(f"\r\n{said or ''}")
    sys.stdout.flush()
    return app.return_code or 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
