"""`make bench`: every benchmark beside this file, one after the other; fails where one misses its mark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    here = Path(__file__).parent
    found = names or sorted(path.stem for path in here.glob("*.py") if not path.stem.startswith("_"))
    missed = []
    for name in found:
        print(f"── {name} ──", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode:
            missed.append(name)
    print("missed: " + ", ".join(missed) if missed else "all marks met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
