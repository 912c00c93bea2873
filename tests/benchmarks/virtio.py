"""A conversion beside virt-v2v on the same guest, and the same conversion of a disk forty times as large.

Rounds are paired: virt-v2v, ours, ours on the large disk, one after the other, so that a busy machine is busy for all
three. A ratio is the median of its rounds'. CPU seconds are shown beside the clock's: they do not wait for others.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.boot.accel import tried
from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT

TIME = 1 / 3  # of virt-v2v's
MEMORY = 1 / 2  # of virt-v2v's
GROWTH = 1.25  # a 40 GiB disk against 1 GiB; what is more than noise
ROUNDS = 3
LARGE = 40 * 1024  # MiB, sparse
TICKS = os.sysconf("SC_CLK_TCK")
HERE = Path(__file__).resolve().parents[2]
PEER, SMALL, BIG = "virt-v2v", "crashcart, 1 GiB", "crashcart, 40 GiB"


@dataclass(frozen=True)
class Row:
    """One measurement: wall seconds, CPU seconds, and the peak of all its processes' resident memory in MiB."""

    name: str
    seconds: float
    cpu: float
    peak: float
    status: int


@dataclass
class Watch:
    """Looks at a process and everything below it, five times a second: memory now, CPU time so far."""

    root: int
    peak: int = 0
    cpu: dict[int, int] = field(default_factory=dict)

    def look(self) -> None:
        """Once."""
        found = [self.root, *_below(self.root)]
        self.peak = max(self.peak, sum(_resident(pid) for pid in found))
        for pid in found:
            with suppress(OSError):
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self.cpu[pid] = int(words[11]) + int(words[12])


def measured(name: str, command: list[str], env: dict[str, str]) -> Row:
    """Run it, and what it starts."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, env=env, stdout=said, stderr=said, stdin=subprocess.DEVNULL, cwd=HERE)
        watch, done = Watch(child.pid), threading.Event()

        def until_done() -> None:
            while not done.wait(0.2):
                watch.look()

        watcher = threading.Thread(target=until_done)
        watcher.start()
        status = child.wait()
        seconds = time.monotonic() - began
        done.set()
        watcher.join()
        if status:
            said.seek(0)
            sys.stdout.write(said.read().decode("utf-8", "replace")[-1500:] + "\n")
    return Row(name, seconds, sum(watch.cpu.values()) / TICKS, watch.peak / (1 << 20), status)


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


def theirs(name: str, image: Path, folder: Path) -> Row:
    """virt-v2v from a disk to a local folder; told to use emulation where KVM does not work here."""
    out = folder / "v2v"
    out.mkdir()
    env = {**os.environ, "LIBGUESTFS_BACKEND": "direct"}
    if tried().name == "tcg":
        env["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    try:
        return measured(name, ["virt-v2v", "-i", "disk", str(image), "-o", "local", "-os", str(out)], env)
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
        large = build(replace(DEFAULT, rpm=True, size=LARGE), folder / "large.img")
        _once(ours, "warm", small, folder)  # so that libguestfs has its appliance cached
        rounds = []
        for number in range(1, ROUNDS + 1):
            works = [(theirs, PEER, small), (ours, SMALL, small), (ours, BIG, large)]
            if number % 2 == 0:  # a load that grows or falls is not always on the same one
                works.reverse()
            measured_rows = {name: _once(work, name, image, folder) for work, name, image in works}
            rows = [measured_rows[name] for name in (PEER, SMALL, BIG)]
            rounds.append(rows)
            sys.stdout.write(f"{number}  load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
            for row in rows:
                told = f"{row.seconds:7.1f} s {row.cpu:7.1f} s CPU {row.peak:6.0f} MiB"
                sys.stdout.write(f"{number}  {row.name:18} {told}   status {row.status}\n")
                sys.stdout.flush()
            if any(row.status for row in rows):
                sys.stdout.write("not all of them came to their end\n")
                return 1
    return judge(rounds)


def _once(run: Callable[[str, Path, Path], Row], name: str, image: Path, folder: Path) -> Row:
    """On a fresh copy, which goes afterwards; holes stay holes."""
    copy = folder / "guest.img"
    subprocess.run(["cp", "--sparse=always", image, copy], check=True)
    try:
        return run(name, copy, folder)
    finally:
        copy.unlink()


def judge(rounds: list[list[Row]]) -> int:
    """The verdict over rounds of (virt-v2v, ours, ours on the large disk)."""
    marks = [
        ("time beside virt-v2v", [small.seconds / peer.seconds for peer, small, _ in rounds], TIME),
        ("memory beside virt-v2v", [small.peak / peer.peak for peer, small, _ in rounds], MEMORY),
        ("40 GiB beside 1 GiB", [large.seconds / small.seconds for _, small, large in rounds], GROWTH),
    ]
    missed = 0
    for name, ratios, most in marks:
        ratio = statistics.median(ratios)
        missed += ratio > most
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        verdict = "ok" if ratio <= most else "MISSED"
        sys.stdout.write(f"{name:24} {ratio:6.2f} ({spread}), at most {most:.2f}: {verdict}\n")
    for name, cpu in (
        ("CPU beside virt-v2v", [small.cpu / peer.cpu for peer, small, _ in rounds]),
        ("CPU, 40 GiB beside 1 GiB", [large.cpu / small.cpu for _, small, large in rounds]),
    ):
        sys.stdout.write(f"{name:24} {statistics.median(cpu):6.2f}, no mark\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
