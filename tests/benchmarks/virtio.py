"""A conversion beside virt-v2v on the same guest, and the same conversion of a disk forty times as large."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from engines.boot.accel import tried
from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT

TIME = 1 / 3  # of virt-v2v's
MEMORY = 1 / 2  # of virt-v2v's
GROWTH = 1.25  # a 40 GiB disk against 1 GiB; what is more than noise
ROUNDS = 2  # of ours, for size alone
HERE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Row:
    """One measurement: wall seconds, and the peak of all its processes' resident memory in MiB."""

    name: str
    seconds: float
    peak: float
    status: int


def measured(name: str, command: list[str], env: dict[str, str]) -> Row:
    """Run it; every process below it counts, twice a second and more."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, env=env, stdout=said, stderr=said, stdin=subprocess.DEVNULL, cwd=HERE)
        peak = 0
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.2):
                peak = max(peak, sum(_resident(pid) for pid in [child.pid, *_below(child.pid)]))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = child.wait()
        seconds = time.monotonic() - began
        done.set()
        watcher.join()
        if status:
            said.seek(0)
            sys.stdout.write(said.read().decode("utf-8", "replace")[-1500:] + "\n")
    return Row(name, seconds, peak / (1 << 20), status)


def _below(parent: int) -> Iterator[int]:
    with suppress(OSError):
        for thread in Path(f"/proc/{parent}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield int(child)
                yield from _below(int(child))


def _resident(pid: int) -> int:
    """Proportional set size: a page that several processes share counts once."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def ours(name: str, image: Path, folder: Path) -> Row:
    """`crashcart virtio convert` as a technician starts it, without the boot test, which virt-v2v does not have."""
    command = [sys.executable, "-m", "engines.cli", "virtio", "convert", str(image), "--no-boot-test"]
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    return measured(name, [*command, "--confirm", image.name], env)


def theirs(image: Path, folder: Path) -> Row:
    """virt-v2v from a disk to a local folder; told to use emulation where KVM does not work here."""
    out = folder / "v2v"
    out.mkdir()
    env = {**os.environ, "LIBGUESTFS_BACKEND": "direct"}
    if tried().name == "tcg":
        env["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    try:
        return measured("virt-v2v", ["virt-v2v", "-i", "disk", str(image), "-o", "local", "-os", str(out)], env)
    finally:
        shutil.rmtree(out)


def main() -> int:
    """Print the table; 1 where a promise is missed."""
    if missing := [name for name in ("virt-v2v", "nbdkit", "rpmbuild") if shutil.which(name) is None]:
        sys.stdout.write(f"{', '.join(missing)}: not installed; apt-get install virt-v2v nbdkit rpm\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="crashcart-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        small = build(replace(DEFAULT, rpm=True), folder / "small.img")
        large = build(replace(DEFAULT, size=40 * 1024), folder / "large.img")
        ours("warm", copied(small, folder / "warm.img"), folder)  # so that libguestfs has its appliance cached
        rows = [theirs(copied(small, folder / "theirs.img"), folder)]
        for number in range(ROUNDS):
            rows.append(ours("crashcart, 1 GiB", copied(small, folder / f"small{number}.img"), folder))
            rows.append(ours("crashcart, 40 GiB", copied(large, folder / f"large{number}.img"), folder))
    return judge(rows)


def judge(rows: list[Row]) -> int:
    """The table and the verdict."""
    for row in rows:
        sys.stdout.write(f"{row.name:20} {row.seconds:8.1f} s {row.peak:8.0f} MiB   status {row.status}\n")
    if any(row.status for row in rows):
        sys.stdout.write("not all of them came to their end\n")
        return 1
    peer, small, large = rows[0], _least(rows[1::2]), _least(rows[2::2])
    marks = [
        ("time beside virt-v2v", small.seconds / peer.seconds, TIME),
        ("memory beside virt-v2v", small.peak / peer.peak, MEMORY),
        ("40 GiB beside 1 GiB", large.seconds / small.seconds, GROWTH),
    ]
    missed = 0
    for name, ratio, most in marks:
        missed += ratio > most
        sys.stdout.write(f"{name:24} {ratio:6.2f}, at most {most:.2f}: {'ok' if ratio <= most else 'MISSED'}\n")
    return 1 if missed else 0


def _least(rows: list[Row]) -> Row:
    """The quickest of several rounds: what else runs on the machine only ever adds."""
    return min(rows, key=lambda row: row.seconds)


def copied(image: Path, to: Path) -> Path:
    """Another guest like it; holes stay holes."""
    subprocess.run(["cp", "--sparse=always", image, to], check=True)
    return to


if __name__ == "__main__":
    sys.exit(main())
