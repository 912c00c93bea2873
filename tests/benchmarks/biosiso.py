"""A disc from a 700 MB tree: writing beside genisoimage, the whole beside genisoimage and two SHA-256 passes."""

from __future__ import annotations

import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TREE = 700 * 1024 * 1024  # bytes
SMALL = 3000  # files of 4 KiB beside the large ones
ROUNDS = 5
WRITING = 2.0  # times genisoimage
WHOLE = 1.5  # times genisoimage and two SHA-256 passes over the tree
PEAK = 64.0  # MiB


def tree(folder: Path) -> Path:
    """Large and small files that do not compress, 700 MB in all."""
    block = hashlib.shake_128(b"tree").digest(1024 * 1024)
    for number in range(SMALL):
        at = folder / f"d{number // 100:02}" / f"f{number:05}.bin"
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(number.to_bytes(4, "big") + block[:4092])
    large = (TREE - SMALL * 4096) // 30
    for number in range(30):
        with (folder / f"large{number:02}.bin").open("wb") as out:
            left = large
            while left:
                left -= out.write(block[: min(left, len(block))])
    return folder


def genisoimage(folder: Path, out: Path) -> float:
    return timed(lambda: subprocess.run(["genisoimage", "-quiet", "-J", "-r", "-o", out, folder], check=True))


def sha256_pass(folder: Path) -> float:
    def whole() -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb", buffering=0) as stream:
                    hashlib.file_digest(stream, "sha256")

    return timed(whole)


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def ours(given: str, out: str) -> dict[str, float]:
    """Plan, write and read back in a process of its own: seconds of each, and its peak in MiB."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.biosiso", given, out], capture_output=True, text=True, check=True
    )
    plan, write, verify, peak = (float(word) for word in done.stdout.split())
    return {"plan": plan, "write": write, "verify": verify, "peak": peak}


def child(given: str, out: str) -> None:
    import json

    import msgspec

    from engines.biosiso.build.build import Build
    from engines.biosiso.build.params import BuildParams
    from engines.biosiso.media import iso, verify
    from engines.biosiso.media.making import Detail
    from engines.job.contract import Cancel
    from engines.job.params import convert

    began = time.monotonic()
    plan = Build().plan(convert(BuildParams, json.loads(given)), Cancel())
    detail = msgspec.convert(plan.detail, Detail)
    planned = time.monotonic()
    for _ in iso.write(detail.disc, Path(out)):
        continue
    written = time.monotonic()
    for _ in verify.verify(detail.disc, Path(out)):
        continue
    read = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{planned - began} {written - planned} {read - written} {peak}\n")


def main() -> int:
    """Print the table; 1 where a promise is missed."""
    import json

    from tests.engines.biosiso.packages import KIT, floppy, freedos_like, zipped

    with tempfile.TemporaryDirectory(prefix="crashcart-bench-") as name:
        folder = Path(name)
        added = tree(folder / "tree")
        given = json.dumps(
            {
                "firmware": str(zipped(folder / "bios.zip", KIT)),
                "dos": str(floppy(folder / "dos.img", freedos_like())),
                "output": str(folder / "bios.iso"),
                "board": "X9SCM-F",
                "add": [str(added)],
            }
        )
        rows = [_round(folder, added, given) for _ in range(ROUNDS + 1)][1:]
    return _judge(rows)


def _round(folder: Path, added: Path, given: str) -> dict[str, float]:
    """One paired round, caches warm: the first is thrown away."""
    theirs = genisoimage(added, folder / "theirs.iso")
    (folder / "theirs.iso").unlink()
    passes = sha256_pass(added)
    row = ours(given, str(folder / "ours.iso"))
    (folder / "ours.iso").unlink()
    whole = row["plan"] + row["write"] + row["verify"]
    return row | {
        "genisoimage": theirs,
        "sha256": passes,
        "writing": row["write"] / theirs,
        "whole": whole / (theirs + 2 * passes),
    }


def _judge(rows: list[dict[str, float]]) -> int:
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    for name in ("genisoimage", "sha256", "plan", "write", "verify"):
        sys.stdout.write(f"{name:24} {median[name]:8.2f} s\n")
    missed = 0
    for name, limit, unit in (("writing", WRITING, "x"), ("whole", WHOLE, "x"), ("peak", PEAK, "MiB")):
        verdict = "ok" if median[name] <= limit else "MISSED"
        missed += verdict != "ok"
        sys.stdout.write(f"{name:24} {median[name]:8.2f} {unit}, at most {limit:.1f}: {verdict}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    if len(sys.argv) == 3:
        child(sys.argv[1], sys.argv[2])
        sys.exit(0)
    sys.exit(main())
