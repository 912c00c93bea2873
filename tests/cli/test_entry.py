"""A Ctrl-C while crashcart is loaded ends it without a traceback, and none is lost that came before."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "import sys; from engines.entry import main; sys.exit(main())"


def begun(*words: str) -> subprocess.Popen[bytes]:
    """The command as the package's own script begins it: with SIGINT held back until Python stands."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", BEGIN, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        preexec_fn=_hold_back,
    )


def _hold_back() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell has it ignored by what it runs in the background
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def test_an_interrupt_before_python_stands_ends_it_in_silence() -> None:
    with begun("--version") as process:
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120) == (b"", b"")
    assert process.returncode == 130


def test_without_one_it_goes_on() -> None:
    with begun("--version") as process:
        out, said = process.communicate(timeout=120)
    assert out.startswith(b"crashcart ") and not said and process.returncode == 0


def test_the_package_begins_so() -> None:
    script = next(line for line in (ROOT / "packaging" / "deb.sh").read_text().splitlines() if "printf '#!" in line)
    assert "/usr/bin/env -S --block-signal=INT" in script and "from engines.entry import main" in script
