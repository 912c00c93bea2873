"""Where the crashcart command begins: a Ctrl-C while its parts are loaded ends it without a word, as one later does."""

from __future__ import annotations

import os
import signal


def main() -> int:
    """The command line of `engines.cli`, and its exit code."""
    quiet = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where a shell has it ignored
    if quiet:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # what starts us may hold it back until here
    from engines import cli

    if quiet:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return cli.main()
