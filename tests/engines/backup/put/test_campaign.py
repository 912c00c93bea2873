"""Hundreds of damaged file systems: each gives files or a named error, within bounds, and writes nothing outside."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import stat
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines import cli
from tests.engines.backup import lab
from tests.engines.backup.files.judging import MIB, customer, mounted, run, table
from tests.engines.backup.files.many import MAKE, plain

pytestmark = pytest.mark.soak

IMAGES = 120  # of each file system that the quick driver reads
SIZES = {"ext4": 12 * MIB, "ntfs": 12 * MIB, "vfat": 12 * MIB}
WITHIN = 120.0  # s for one image: some hundred files
MEMORY = 700 * MIB  # resident
SPACE = 6 << 30  # bytes of address space
FAIR = (0, 1, 3, 4)  # done, failed, refused, done with warnings
APPLIANCE = {"xfs": (320, 10), "btrfs": (128, 10)}  # MiB, how many


def made(folder: Path, form: str, size: int) -> Path:
    """A file system with something of everything, alone on its disk."""
    image = folder / f"{form}.base"
    with image.open("wb") as stream:
        stream.truncate(size)
    run(*MAKE[form], image)
    if form == "vfat":
        source = folder / "plain"
        source.mkdir()
        plain(source)
        for each in source.iterdir():
            run("mcopy", "-s", "-m", "-i", image, each, "::")
    elif form == "ntfs":
        (folder / "point").mkdir()
        run("ntfs-3g", image, folder / "point")
        plain(folder / "point")
        run("umount", folder / "point")
    else:
        with mounted(image, folder / "point", 0, size) as root:
            customer(root)
    return image


def sectors(image: Path) -> list[int]:
    """Where the image holds anything: what is damaged is mostly metadata, for the files are few and small."""
    content = image.read_bytes()
    return [at for at in range(0, len(content), 512) if any(content[at : at + 512])]


def damaged(base: Path, used: list[int], seed: int, image: Path) -> Path:
    """A copy with some bytes changed; the first half of the used sectors, where superblocks lie, more often."""
    run("cp", "--sparse=always", base, image)
    rng = random.Random(seed)
    with image.open("r+b") as stream:
        for _ in range(rng.choice((1, 4, 16, 64))):
            pool = used[: len(used) // rng.choice((1, 2, 16))] or used
            stream.seek(rng.choice(pool) + rng.randrange(512))
            stream.write(rng.choice((b"\xff", b"\0", rng.randbytes(1), rng.randbytes(4))))
    return image


@dataclass(frozen=True)
class Outcome:
    """status: of waitpid. seconds and bytes that it took."""

    status: int
    seconds: float
    memory: int
    said: str


def in_child(folder: Path, *words: str | Path, within: float = WITHIN) -> Outcome:
    """The command in a forked child with bounds; killed where it hangs."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 70
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
            log = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ["XDG_STATE_HOME"] = str(folder / "state")
            code = cli.main([str(word) for word in words])
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - began
        if found:
            return Outcome(status, seconds, usage.ru_maxrss * 1024, (folder / "said").read_text(errors="replace"))
        if seconds > within:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


@pytest.mark.parametrize("form", SIZES)
def test_a_damaged_file_system_gives_files_or_named_errors(form: str, tmp_path: Path) -> None:
    base = made(tmp_path, form, SIZES[form])
    used = sectors(base)
    repo = lab.init(tmp_path / "repo")
    bad: list[str] = []
    codes: Counter[int] = Counter()
    for seed in range(IMAGES):
        point = lab.backup(repo, damaged(base, used, seed, tmp_path / "image"), vm=f"vm{seed}")
        place = tmp_path / f"seed{seed}"
        place.mkdir()
        (place / "sentinel").write_text("stay")
        for words in (
            ("find", f"{point}:/", "*"),
            ("get", f"{point}:/", place / "out", "--conflict", "skip"),
            *((("get", f"{point}:/", place / "out.tar", "--tar"),) if seed % 4 == 0 else ()),
        ):
            outcome = in_child(place, "backup", *words, "--repo", repo, "--driver", "quick")
            bad += [f"seed {seed} {words[0]}: {why}" for why in faults(outcome)]
            codes[os.waitstatus_to_exitcode(outcome.status)] += 1
        bad += [f"seed {seed}: {why}" for why in strays(place)]
        run("rm", "-rf", place)
    assert not bad, "\n".join(bad[:40])
    assert codes[0] + codes[4] > IMAGES // 4, codes  # most give most of their files


def faults(outcome: Outcome) -> list[str]:
    """What must not be, whatever is on the disk."""
    code = os.waitstatus_to_exitcode(outcome.status)
    last = outcome.said.strip().splitlines()[-3:]
    found = []
    if code not in FAIR:
        found.append(f"ended with {code} after {outcome.seconds:.0f} s: {last}")
    if "Traceback" in outcome.said or "unexpected:" in outcome.said:
        found.append(f"no named error: {last}")
    if "\x1b" in outcome.said:
        found.append("an escape code reached the terminal")
    if outcome.memory > MEMORY:
        found.append(f"{outcome.memory >> 20} MiB of memory")
    return found


def strays(place: Path) -> list[str]:
    """What lies where nothing may, or is what nothing may be."""
    found = [
        f"{each.name} beside the destination"
        for each in place.iterdir()
        if each.name not in ("sentinel", "out", "out.tar", "state", "said")
    ]
    if (place / "sentinel").read_text() != "stay":
        found.append("the sentinel changed")
    for folder, folders, files in os.walk(os.fsencode(place / "out")):
        for name in (*folders, *files):
            mode = os.lstat(folder + b"/" + name).st_mode
            if mode & (stat.S_ISUID | stat.S_ISGID) or not (
                stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
            ):
                found.append(f"{name!r} has mode {mode:o}")
    return found


@pytest.mark.boot
@pytest.mark.parametrize("form", APPLIANCE)
def test_damaged_volumes_of_an_appliance_do_not_hurt_their_neighbours(form: str, tmp_path: Path) -> None:
    """Many on one disk, the last one sound: one launch sees them all."""
    size, count = APPLIANCE[form]
    base = made(tmp_path, form, size * MIB)
    used = sectors(base)
    script = "label: gpt\n" + f"size={size}MiB\n" * (count + 1)
    disk = table(tmp_path / "disk.img", ((count + 1) * size + 8) * MIB, script)
    for number in range(count + 1):
        part = damaged(base, used, number, tmp_path / "part") if number < count else base
        run(
            "dd", f"if={part}", f"of={disk}", "bs=1M", f"seek={1 + number * size}", "conv=notrunc,sparse", "status=none"
        )
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, disk)
    place = tmp_path / "place"
    place.mkdir()
    (place / "sentinel").write_text("stay")
    outcome = in_child(
        place,
        "backup",
        "get",
        f"{point}:/",
        place / "out",
        "--repo",
        repo,
        "--driver",
        "libguestfs",
        "--owner",
        within=1200.0,
    )
    assert not faults(outcome), (faults(outcome), outcome.said)
    assert not strays(place)
    assert (place / "out" / f"p{count + 1}" / "etc" / "motd").read_text() == "welcome\n", outcome.said
