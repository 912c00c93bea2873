"""How soon a restore point shows its files, and how fast one comes out, beside libguestfs on the raw image.

A disk of 200 GiB with ext4 and a file of 100 MiB in it. What the command takes is the whole process, less an
interpreter that imports the same modules, in turns. $CRASHCART_BENCH is the folder to work in (2 GiB).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engines.boot.accel import tried

MIB = 1024 * 1024
ROUNDS = 7
FIRST = 0.5  # s for `ls /`
SPEED = 300  # MB/s for one file
BIG = 100 * MIB
POINT = "web1/disk0@latest"
TRACE = """
import sys
from engines.cli import main
sys.stdout = open({out!r}, "w")
main({words!r})
with open({names!r}, "w") as stream:
    stream.write("\\n".join(name for name in sys.modules if name not in ("__main__", "__mp_main__")))
"""
IMPORT = """
import importlib, sys
for name in open(sys.argv[1]).read().split():
    try:
        importlib.import_module(name)
    except ImportError:
        continue
"""
GUEST = """
import sys, time, guestfs
began = time.perf_counter()
g = guestfs.GuestFS(python_return_dict=True)
g.add_drive_opts(sys.argv[1], readonly=1, format="raw")
g.launch()
g.mount_ro("/dev/sda", "/")
g.ls("/")
print(time.perf_counter() - began)
began = time.perf_counter()
g.download("/big", "/dev/null")
print(time.perf_counter() - began)
g.close()
"""


def make(folder: Path) -> Path:
    """A file system of 200 GiB, mostly empty, as a guest's is after its installation."""
    image, tree = folder / "disk", folder / "tree"
    for name in ("bin", "boot", "etc", "home", "root", "srv", "tmp", "usr", "var/log"):
        (tree / name).mkdir(parents=True)
    for number in range(2000):
        (tree / "etc" / f"conf{number}").write_text(f"number = {number}\n" * 40)
    (tree / "big").write_bytes(os.urandom(BIG // 2) + bytes(range(256)) * (BIG // 512))
    with image.open("wb") as stream:
        stream.truncate(200 * 1024 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image], check=True)
    return image


def seconds(*argv: str | Path) -> tuple[float, float]:
    """Wall and CPU."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(list(map(str, argv)), check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, cpu


def beyond_imports(folder: Path, *words: str) -> float:
    """The command's time less that of its imports: the median of pairs."""
    names = folder / "modules"
    code = TRACE.format(out=str(folder / "out"), names=str(names), words=list(words))
    subprocess.run([sys.executable, "-c", code], check=True)
    pairs = [
        (seconds(sys.executable, "-m", "engines.cli", *words), seconds(sys.executable, "-c", IMPORT, names))
        for _ in range(ROUNDS)
    ]
    wall, cpu = (statistics.median(ours[at] - bare[at] for ours, bare in pairs) for at in (0, 1))
    load = os.getloadavg()[0]
    whole, bare = (statistics.median(each[side][0] for each in pairs) for side in (0, 1))
    print(f"  whole {whole:.3f} s, imports {bare:.3f} s; beyond them {wall:.3f} s, CPU {cpu:.3f} s; load {load:.1f}")
    return wall


def libguestfs(image: Path) -> None:
    """The peer, once: it starts a virtual machine each time, told to use emulation where KVM does not work here."""
    env = {**os.environ, "LIBGUESTFS_BACKEND": "direct"}
    if tried().name == "tcg":
        env["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
    began = subprocess.run([sys.executable, "-c", GUEST, image], capture_output=True, text=True, check=False, env=env)
    if began.returncode:
        print(f"  libguestfs on the raw image: not run, {began.stderr.strip().splitlines()[-1]}")
        return
    first, out = map(float, began.stdout.split())
    print(f"  libguestfs on the raw image: first ls / {first:.1f} s, 100 MiB out {BIG / 1e6 / out:.0f} MB/s")


def mark(words: str, met: bool) -> bool:
    print(f"  {'ok  ' if met else 'MISS'} {words}", flush=True)
    return met


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="bench-browser-", dir=os.environ.get("CRASHCART_BENCH")))
    os.environ |= {"XDG_STATE_HOME": str(folder / "state"), "CRASHCART_REPO": str(folder / "repo")}
    try:
        image = make(folder)
        ours = [sys.executable, "-m", "engines.cli", "backup"]
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*ours, "init", folder / "repo"], **quiet)
        subprocess.run([*ours, "run", image, "--vm", "web1", "--disk", "disk0", "--limit", "none"], **quiet)
        print("first ls / of a 200 GiB ext4 point")
        first = beyond_imports(folder, "backup", "ls", f"{POINT}:/")
        met = [mark(f"{first:.3f} s beyond imports (at most {FIRST})", first <= FIRST)]
        print("100 MiB of one file out")
        out = BIG / 1e6 / beyond_imports(folder, "backup", "cat", f"{POINT}:/big")
        met.append(mark(f"{out:.0f} MB/s (at least {SPEED})", out >= SPEED))
        libguestfs(image)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
