"""Commands run one at a time, with the time, processor time and memory that each took."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from engines.host.device import kernels_own
from tests.benchmarks._image import MIB

CALM = {"RESTIC_PASSWORD": "x", "BORG_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}


@dataclass
class Took:
    """Wall seconds, processor seconds of user and kernel, peak anonymous and total resident memory in bytes."""

    seconds: float
    user: float = 0.0
    system: float = 0.0
    anon: int = 0
    rss: int = 0

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s (cpu {self.user:.2f}+{self.system:.2f})"

    @property
    def memory(self) -> str:
        """Its peak, for people."""
        return f"anon {self.anon / MIB:.0f} MiB, rss {self.rss / MIB:.0f} MiB"


@dataclass
class Bench:
    """A folder to work in, and the marks that were missed."""

    folder: Path
    missed: list[str] = field(default_factory=list)

    @property
    def image(self) -> Path:
        return self.folder / "image"

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @cached_property
    def out(self) -> Path:
        """Where a restore may make files, and its peers do: on a disk, where the folder lies among devices."""
        if not kernels_own(self.folder / "out"):
            return self.folder
        self._elsewhere = tempfile.TemporaryDirectory(prefix="crashcart-bench-", dir="/var/tmp")
        return Path(self._elsewhere.name)

    def environment(self) -> dict[str, str]:
        """Homes and caches below the folder; our modules are compiled there, as those of an installed program are."""
        own = {
            "XDG_STATE_HOME": "state",
            "XDG_CACHE_HOME": "cache",
            "BORG_BASE_DIR": "borg",
            "PYTHONPYCACHEPREFIX": "pyc",
        }
        places = {name: str(self.folder / "home" / place) for name, place in own.items()}
        return {**os.environ, **CALM, **places, "PYTHONDONTWRITEBYTECODE": ""}

    def run(self, *argv: str | Path, out: Path | None = None, given: Path | None = None) -> Took:
        """A command, timed; a failure ends the benchmark."""
        with (out or Path(os.devnull)).open("wb") as sink, (given or Path(os.devnull)).open("rb") as source:
            words = [str(word) for word in argv]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            child = subprocess.Popen(words, stdin=source, stdout=sink, stderr=subprocess.PIPE, env=self.environment())
            peak = Took(0.0)
            watch = threading.Thread(target=_watch, args=(child.pid, peak), daemon=True)
            watch.start()
            said = child.communicate()[1]
            peak.seconds = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            watch.join()
        if child.returncode:
            raise SystemExit(f"{words} failed: {said.decode()[-500:]}")
        peak.user, peak.system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        return peak

    def ours(self, *words: str | Path) -> Took:
        return self.run(sys.executable, "-m", "engines.cli", "backup", *words, "--json")

    def backup(self) -> Took:
        return self.ours("run", self.image, "--repo", self.repo, "--vm", "web1", "--limit", "none")

    def restic(self) -> Took:
        return self.run("restic", "-r", self.folder / "restic", "backup", "-q", "--stdin", given=self.image)

    def borg(self, name: str) -> Took:
        return self.run(
            "borg", "create", "--compression", "zstd,1", "--chunker-params", "fixed,4194304", "--sparse",
            "--files-cache", "disabled", f"{self.folder / 'borg'}::{name}", self.image,
        )  # fmt: skip

    def dd(self) -> Took:
        return self.run("dd", f"if={self.image}", "of=/dev/null", "bs=1M", "status=none")

    def mark(self, words: str, value: float, most: float) -> None:
        met = value <= most
        print(f"  {'ok  ' if met else 'MISS'} {words}: {value:.2f} (at most {most:.2f})", flush=True)
        if not met:
            self.missed.append(words)


def _watch(pid: int, peak: Took) -> None:
    """Sample a process's memory while it lives."""
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return
        found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "VmHWM"))}
        if not found:
            return
        peak.anon = max(peak.anon, int(found.get("RssAnon", 0)) * 1024)
        peak.rss = max(peak.rss, int(found.get("VmHWM", 0)) * 1024)
        time.sleep(0.01)
