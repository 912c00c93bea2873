"""How long the command takes to answer --help, beside an interpreter that does nothing, in turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 9
MARK = 0.3  # s, the whole process


def seconds(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    ours = [sys.executable, "-m", "engines.cli", "--help"]
    bare = [sys.executable, "-c", ""]
    seconds(ours)
    pairs = [(seconds(ours), seconds(bare)) for _ in range(RUNS)]
    help_took = statistics.median(pair[0] for pair in pairs)
    bare_took = statistics.median(pair[1] for pair in pairs)
    print(f"crashcart --help   median of {RUNS}: {help_took:.3f} s (mark {MARK} s)")
    print(f"python -c ''       median of {RUNS}: {bare_took:.3f} s, ratio {help_took / bare_took:.1f}")
    return 0 if help_took <= MARK else 1


if __name__ == "__main__":
    raise SystemExit(main())
