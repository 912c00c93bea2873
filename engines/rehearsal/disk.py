"""A small web server's disk with three restore points, and a fourth backup to rehearse on it.

It proves that reading, storing, committing and browsing work on this machine. It does not prove a snapshot of a
running guest, a slow or far repository, or that the disk boots.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.job.errors import Failed, Refused

if TYPE_CHECKING:
    from engines.rehearsal.stage import Staged

MIB = 1024 * 1024
SIZE = 64 * MIB
PARTITION = MIB  # bytes before the only partition
UUID = "5ca1ab1e-0000-4000-8000-00000000c0de"
BEGAN = 1_790_000_000  # 2026-09-21, the newest files' time at the first point
DAY = 86400  # s
VM, DISK = "rehearsal", "disk0"


def make(folder: Path) -> dict[str, Any]:
    """Fill `folder` with a disk and a repository of three points; gives the parameters of the fourth backup."""
    disk = folder / "disk.img"
    repo = folder / "repository"
    if repo.exists():  # an earlier rehearsal's, which a screen left behind
        shutil.rmtree(repo)
    _run("backup-init", {"repo": str(repo)}, folder)
    params = {"source": str(disk), "repo": str(repo), "vm": VM, "disk": DISK, "limit": "none"}
    for point in range(3):
        write(disk, point)
        _run("backup", params, folder)
    write(disk, 3)
    return params


def write(disk: Path, point: int) -> None:
    """Make the disk (point 0), or have its server go on for a day. Raises Refused, Failed."""
    tree = disk.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    for name, content in files(point).items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (BEGAN + point * DAY, BEGAN + point * DAY))
    (_format if point == 0 else _go_on)(disk, tree, point)
    shutil.rmtree(tree)


def files(point: int) -> dict[str, bytes]:
    """By path, what the server holds at point 0, and later what it writes anew; empty for a file that it loses."""
    found = {
        "var/log/syslog": "".join(f"Sep {21 + point} 03:{at:02}:00 shop cron: all is quiet\n" for at in range(60)),
        "var/lib/shop/orders.csv": "".join(f"{at},cold console,{at % 7 + 1}\n" for at in range(4000 * (point + 1))),
    }
    if point == 0:
        found |= SERVER
    if point == 2:
        found |= {"var/www/shop/index.html": "<h1>Hacked</h1>\n", "var/www/shop/imprint.html": ""}
    rng = random.Random(7)  # noqa: S311  test data, the same every time
    photos = {f"var/www/shop/photos/{at:03}.jpg": rng.randbytes(200_000) for at in range(60)} if point == 0 else {}
    return {name: text.encode() for name, text in found.items()} | photos


SERVER = {
    "etc/hostname": "shop\n",
    "etc/hosts": "127.0.0.1 localhost\n192.0.2.10 shop.example shop\n",
    "etc/fstab": f"UUID={UUID} / ext4 errors=remount-ro 0 1\n",
    "etc/nginx/nginx.conf": "events {}\nhttp {\n    include /etc/nginx/sites-available/*;\n}\n",
    "etc/nginx/sites-available/shop": "server {\n    listen 80;\n    root /var/www/shop;\n}\n",
    "home/anna/notes.txt": "The raid card beeps at night. Ask for a spare.\n",
    "var/www/shop/index.html": "<h1>The shop is open</h1>\n",
    "var/www/shop/imprint.html": "<h1>Imprint</h1>\n",
}


def _format(disk: Path, tree: Path, point: int) -> None:
    """An ext4 with the files of `tree`, in the only partition."""
    with disk.open("wb") as stream:
        stream.truncate(SIZE)
        sectors = PARTITION // 512, (SIZE - PARTITION) // 512
        stream.seek(446)
        stream.write(struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xfe\xff\xff", *sectors).ljust(64, b"\0"))
        stream.write(b"\x55\xaa")
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "shop", "-U", UUID, "-d", str(tree)]
    size = f"{(SIZE - PARTITION) // 1024}k"
    _tool([*argv, "-E", f"offset={PARTITION},hash_seed={UUID}", str(disk), size], point)


def _go_on(disk: Path, tree: Path, point: int) -> None:
    """Put the files of `tree` in the place of those of before."""
    told = []
    for name, content in files(point).items():
        told += [f"rm /{name}"] + ([f"write {tree / name} /{name}"] if content else [])
    script = disk.with_suffix(".debugfs")
    script.write_text("\n".join(told) + "\n")
    _tool(["debugfs", "-w", "-f", str(script), f"{disk}?offset={PARTITION}"], point)
    script.unlink()


def _tool(argv: list[str], point: int) -> None:
    at = str(BEGAN + point * DAY)
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "E2FSPROGS_FAKE_TIME": at}
    try:
        made = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        raise Refused(f"{argv[0]} is not installed", "install it: apt install e2fsprogs") from None
    if made.returncode:
        raise Failed(f"{argv[0]}: {made.stderr.strip()}")


def _run(task: str, params: dict[str, Any], folder: Path) -> None:
    """An engine, to its end, without a run of its own in the history."""
    from engines import tasks
    from engines.job.contract import Cancel, Context
    from engines.job.work import Work, typed

    work = Work.of(tasks.engine(task), params)
    for _ in work.engine.execute(typed(work.engine, work.plan()), Context(cancel=Cancel(), folder=folder)):
        continue


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:
    """The disk, its points, and the job that makes the next one."""
    from engines.job.jobfile import Job
    from engines.rehearsal.stage import Staged

    yield Staged(Job(task="backup", params=make(folder)))
