"""Run as a program: every command of crashcart in a child of its own, each time with something of a process missing.

One interpreter loads all of it once and forks, so that a thousand commands take seconds.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engines
from engines import tasks
from engines.cli import commands, main
from engines.job.contract import Look
from engines.job.params import Field, Params, fields

PATIENCE = 120.0  # s for one command that looks at next to nothing
NAMED = {
    "repo": "{root}/repo", "point": "web1/disk0@latest", "old": "web1/disk0@latest", "new": "web1/disk0@latest",
    "where": "web1/disk0:/etc", "vm": "web1", "at": "20261130T031500Z", "interface": "TenGigabitEthernet 1/0/5",
    "switch": "127.0.0.1", "bmc": "127.0.0.1", "name": "a.example.invalid", "user": "root", "source": "{root}/disk",
    "image": "{root}/disk", "firmware": "{root}/firmware", "fleet": "{root}/fleet.yaml", "run": "last",
    "pattern": "*", "path": "/etc", "paths": "web1/disk0@latest:/etc", "resolver": "127.0.0.1:1", "timeout": "1",
    "into": "{root}/none", "url": "http://127.0.0.1:1/x.iso", "file": "{root}/none", "lv": "none",
}  # fmt: skip
OFTEN = ("repo", "fleet", "resolver", "timeout", "url")  # given where they can be, needed or not
OPTIONS = {
    "backup run": ("{root}/disk", "--vm", "web1"),
    "backup cat": ("--path", "/etc/`x`"),
    "backup prune": ("--keep-daily", "1"),
    "virtio convert": ("{root}/disk",),
}
LEFT_OUT = ("fleet serve", "backup snapshots", "doctor", "rehearse", "help", "stop")  # no end, or all of this machine
HOSTILE = ("\x1b]0;owned\x07", "\x9b2J", "a\rb", "a\nb", "\u202egnp", "`x`", "<script>", "\xff")


def value(field: Field, path: str, known: dict[str, str]) -> str:
    """Something that a parameter takes; `path` for what is on this machine, where it is given."""
    if path and field.kind in ("file", "folder", "output"):
        return path
    if field.name in known:
        return known[field.name]
    if field.shape == "choice":
        return field.choices[0]
    return str(field.default or 1) if field.shape in ("int", "float") else "out"


def words_of(cls: type[Params], path: str, root: Path) -> list[str]:
    """A command line that gives what must be given, and names what was staged."""
    known = {name: text.format(root=root) for name, text in NAMED.items()}
    known |= {"into": "out"} if "point" in {field.name for field in fields(cls)} else {}
    placed, flags = [], []
    for field in fields(cls):
        if field.positional and (field.required or field.name in OFTEN):
            placed.append(value(field, path, known))
        elif field.required or field.name in OFTEN:
            flags += [f"{field.flag}{'-file' if field.shape == 'secret' else ''}", value(field, path, known)]
    return [*placed, *flags]


def every(path: str, root: Path) -> Iterator[list[str]]:
    """All commands, those that change something as dry runs. path: in the place of each that can be named."""
    for name, task in tasks.TASKS.items():
        for each in (*task.looks(), *task.engines()):
            if (called := f"{name} {each.verb}") not in LEFT_OUT:
                more = [] if path else [word.format(root=root) for word in OPTIONS.get(called, ())]
                dry = [] if isinstance(each, Look) else ["--dry-run"]
                yield [name, each.verb, *words_of(each.params, path, root), *more, *dry]
    given = {"run": [path or f"{root}/job.yaml", "--dry-run"], "completion": ["bash"], "man": [path or "man"]}
    given |= {"undo": ["last", "--dry-run"], "resume": ["last", "--dry-run"]}
    for command in commands.COMMANDS:
        if command.name not in LEFT_OUT:
            yield [command.name, *given.get(command.name, ["last"] if commands.RUN in command.options else [])]


def stage(root: Path) -> None:
    """A guest's disk with names that do harm, its point in a repository, a job, a fleet and two runs."""
    etc = root / "guest" / "etc"
    etc.mkdir(parents=True)
    for name in HOSTILE:
        (etc / name.replace("/", "")).write_text(f"{name}\n", errors="surrogateescape")
    (root / "guest" / "sbin").mkdir()
    (root / "firmware").mkdir()
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-L", "\x1b[2Jx", "-d", root / "guest", root / "disk", "4M"],
        check=True, capture_output=True,
    )  # fmt: skip
    (root / "job.yaml").write_text(f"task: backup-init\nparams: {{repo: {root}/other}}\n")
    (root / "fleet.yaml").write_text(
        f"hosts: {{here: {{ssh: local, find: []}}}}\nrepositories: {{main: {{url: {root}/repo}}}}\n"
        f"policies: {{p: {{to: [main]}}}}\nguests: [{{match: all, policy: p}}]\nledger: {root}/ledger\n"
    )
    os.environ |= {f"XDG_{name}_HOME": str(root / name) for name in ("STATE", "CONFIG", "CACHE")}
    assert main(["backup", "init", f"{root}/repo"]) == 0
    assert main(["backup", "run", f"{root}/disk", "--vm", "web1", "--repo", f"{root}/repo", "--limit", "none"]) in (
        0,
        4,
    )


def load() -> None:
    """All that a command would load by itself, once for all of them."""
    for found in pkgutil.walk_packages(engines.__path__, "engines."):
        if not found.name.endswith(("__main__", "guest.bytewise", "guest.worker")):
            importlib.import_module(found.name)
    for name in ("cryptography.x509", "dns.message", "lxml", "numpy", "yaml", "zstandard"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()


def closed(*numbers: int) -> Callable[[], None]:
    """Have these descriptors closed."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


def limited(what: int, most: int) -> Callable[[], None]:
    """Held to a limit, as by ulimit; Python has SIGXFSZ ignored."""
    return lambda: resource.setrlimit(what, (most, most))


def full() -> None:
    """Nothing can be printed."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def gone() -> None:
    """Stand in a folder that is no more."""
    Path("gone").mkdir()
    os.chdir("gone")
    Path("../gone").rmdir()


def homeless() -> None:
    """Nothing says where this user keeps things, nor where programs are."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "USER", "PATH"):
        os.environ.pop(name, None)


def whole() -> None:
    """Nothing is missing."""


MISSING: dict[str, tuple[Callable[[], None], str]] = {
    "<&-": (closed(0), ""),
    ">&-": (closed(1), ""),
    "2>&-": (closed(2), ""),
    "<&- >&- 2>&-": (closed(0, 1, 2), ""),
    "> /dev/full": (full, ""),
    "a name too long": (whole, "x" * 300),
    "a path too long": (whole, "/".join(["y" * 200] * 30)),
    "a folder": (whole, "."),
    "a device": (whole, "/dev/null"),
    "a folder that is gone": (gone, "out"),
    "20 open files": (limited(resource.RLIMIT_NOFILE, 20), ""),
    "files of 4 KiB": (limited(resource.RLIMIT_FSIZE, 4096), ""),
    "no home": (homeless, ""),
}


def one(words: list[str], spoil: Callable[[], None], place: Path) -> dict[str, Any]:
    """How a command ended: its exit code, or the signal as a negative number, and what it said."""
    place.mkdir()
    said = place / "said"
    began = time.monotonic()
    if not (child := os.fork()):
        _inside(words, spoil, place, said)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() - began > PATIENCE:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(ended[1])
    return {
        "words": words,
        "code": code,
        "said": said.read_bytes().decode("utf-8", "surrogateescape"),
        "s": round(time.monotonic() - began, 2),
    }


def begun_with_what_is_open() -> None:
    """Streams as an interpreter has them that begins now: none over a descriptor that is closed."""
    found: list[Any] = []
    for number, mode in enumerate("rww"):
        try:
            os.fstat(number)
            found.append(open(number, mode, closefd=False))  # noqa: SIM115
        except OSError:
            found.append(None)
    sys.stdin, sys.stdout, sys.stderr = found


def _inside(words: list[str], spoil: Callable[[], None], place: Path, said: Path) -> None:
    code: Any = 99
    try:
        os.chdir(place)
        os.environ["XDG_CONFIG_HOME"] = str(place / "config")
        to = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(to, 1)
        os.dup2(to, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.closerange(3, 64)
        spoil()
        begun_with_what_is_open()
        code = main(words)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001  it is told, and the child ends
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else 1)


def tell() -> None:
    """Stage, try, tell by a line of JSON each. Several that are missing, joined by |, take turns."""
    root, *chosen = sys.argv[1:]
    tried = Path(root) / "tried"
    tried.mkdir()
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    begun_with_what_is_open()
    stage(Path(root))
    load()
    for number, missing in enumerate(chosen or MISSING):
        in_turn = missing.split("|")
        for at, words in enumerate(every(MISSING[in_turn[0]][1], Path(root))):
            spoil = MISSING[in_turn[at % len(in_turn)]][0]
            told.write(json.dumps({"missing": missing, **one(words, spoil, tried / f"{number}-{at}")}) + "\n")
            told.flush()


if __name__ == "__main__":
    tell()
