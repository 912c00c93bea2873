"""The real command, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARGV = [sys.executable, "-m", "engines.cli"]


def crashcart(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `crashcart WORDS`, and let no traceback pass."""
    ran = subprocess.run(
        [*ARGV, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        input=stdin or "",
        timeout=600,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran
