"""A limit is kept by the kernel where it can be, by waiting where not, and what was reached is said."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.backup.limits import cgroup, kernel
from engines.backup.limits.groups import ThreadGroup, Unavailable
from engines.backup.limits.kernel import KernelThrottle
from engines.backup.limits.speed import Speed
from engines.backup.limits.throttle import Limit, Throttle
from engines.backup.limits.throttling import throttled
from engines.host import device
from engines.host.device import Device
from engines.job.contract import Cancel
from engines.job.errors import Stopped
from tests.absent import absent
from tests.engines.backup import lab

MB = 1_000_000
LIMIT = 40 * MB
READ = 4 << 20
SIZE = 200 << 20
HERE = cgroup.mounted()
ROOT = Path(__file__).resolve().parents[4]


def no_speed() -> Speed:
    raise AssertionError("nobody needs the speed of a disk whose limit is given in bytes")


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cold") / "disk.img"
    with path.open("wb") as stream:
        for _ in range(SIZE // READ):
            stream.write(os.urandom(READ))
        os.fsync(stream.fileno())
    return path


def ours() -> list[Path]:
    """Groups that this process made: other tests and backups of this machine have theirs beside."""
    return [] if HERE is None else list(HERE.group().glob(f"crashcart-{os.getpid()}-*"))


def forget(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def read_by(throttle: Throttle, path: Path, threads: int = 2) -> float:
    """Read the whole file by some threads, as the engine does; seconds."""
    forget(path)
    descriptor = os.open(path, os.O_RDONLY)
    offsets = iter(range(0, path.stat().st_size, READ))
    lock = threading.Lock()

    def work() -> None:
        throttle.enter()
        while True:
            with lock:
                at = next(offsets, None)
            if at is None:
                return
            throttle.take(READ)
            os.pread(descriptor, READ, at)

    began = time.monotonic()
    readers = [threading.Thread(target=work) for _ in range(threads)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    os.close(descriptor)
    return time.monotonic() - began


def on_one_device(path: Path) -> Device:
    found = device.of(path)
    if found is None or HERE is None or os.geteuid():
        absent("needs root, a cgroup that limits reading, and a test folder on one block device")
    return found


def test_the_kernel_keeps_40_MB_a_second_and_no_more_with_a_cold_cache(cold: Path) -> None:
    with throttled(Limit(rate=LIMIT), on_one_device(cold), no_speed, Cancel()) as throttle:
        took = read_by(throttle, cold)
        said = throttle.report(SIZE, took)
    assert isinstance(throttle, KernelThrottle)
    assert SIZE / took < 1.1 * LIMIT
    assert "kept by cgroup" in said and "40 MB/s allowed" in said


def test_waiting_keeps_40_MB_a_second_and_no_more_without_root(cold: Path) -> None:
    script = (
        "import os, sys; os.setuid(65534)\n"
        "from pathlib import Path\n"
        "from tests.engines.backup.limits import test_throttle as t\n"
        "from engines.host import device\n"
        "path = Path(sys.argv[1])\n"
        "with t.throttled(t.Limit(rate=t.LIMIT), device.of(path) or '', t.no_speed, t.Cancel()) as throttle:\n"
        "    took = t.read_by(throttle, path)\n"
        "print(took); print(throttle.words); print(throttle.report(t.SIZE, took))\n"
    )
    if os.geteuid():
        absent("must be root to stop being it")
    for folder in [cold, *cold.parents]:
        folder.chmod(folder.stat().st_mode | 0o055 if folder != cold else 0o644)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(cold)], env=env, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    took, words, said = done.stdout.splitlines()
    assert "40 MB/s by waiting" in words and "no cgroup" in words
    assert SIZE / float(took) < 1.1 * LIMIT
    assert "kept by waiting" in said


def test_qemu_nbd_is_held_to_40_MB_a_second_and_no_more_and_the_report_says_how(cold: Path) -> None:
    """It reads for us, in a process of its own: that is the one that the kernel must hold."""
    image = cold.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(cold), str(image)], check=True)
    lab.cold(image)
    repo = lab.init(cold.with_name("repo"))
    made = lab.done("backup", repo=repo, source=str(image), vm="web1", limit=str(LIMIT))
    assert made["read"] == SIZE
    assert SIZE / made["seconds"] < 1.1 * LIMIT
    by = "cgroup v1 around qemu-nbd" if HERE and HERE.version == 1 and not os.geteuid() and device.of(image) else ""
    assert f"kept by {by}" in made["limit"]
    assert not ours()


def test_a_source_on_no_single_device_is_held_by_waiting_and_says_so() -> None:
    with throttled(Limit(rate=LIMIT), "it is on btrfs", no_speed, Cancel()) as throttle:
        assert "by waiting" in throttle.words and "it is on btrfs" in throttle.words


def test_a_share_is_of_the_speed_that_is_allowed_and_its_origin_is_said(cold: Path) -> None:
    known = Speed(100e6, "the limit of the VM")
    with throttled(Limit(share=0.6), "it is on btrfs", lambda: known, Cancel()) as throttle:
        assert "60 MB/s" in throttle.words and "60% of 100 MB/s, the limit of the VM" in throttle.words


def test_the_group_is_gone_afterwards_and_the_threads_are_back(cold: Path) -> None:
    own = on_one_device(cold)
    assert HERE is not None
    assert not ours()
    home = HERE.group()
    with throttled(Limit(rate=LIMIT), own, no_speed, Cancel()) as throttle:
        throttle.enter()
        inside = HERE.group()
        assert inside != home
        assert HERE.allowed(inside, {own}) == LIMIT
    assert HERE.group() == home
    assert not ours()


@contextmanager
def killed_in_a_group(own: Device) -> Iterator[Path]:
    script = (
        "import sys, time; from engines.backup.limits import cgroup; from engines.host.device import Device\n"
        "from engines.backup.limits.groups import grouped\n"
        f"grouped(cgroup.mounted(), Device({own.major}, {own.minor}), 10**7).enter()\n"
        "print(cgroup.mounted().group('thread-self'), flush=True); time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        where = Path(child.stdout.readline().strip())
        child.kill()
    yield where


def test_a_group_that_a_killed_run_left_is_swept_by_the_next(cold: Path) -> None:
    own = on_one_device(cold)
    with killed_in_a_group(own) as left:
        assert left.name.startswith("crashcart-") and left.is_dir()
        end = time.monotonic() + 120
        while left.is_dir() and time.monotonic() < end:  # the dead thread leaves a moment later
            with throttled(Limit(rate=LIMIT), own, no_speed, Cancel()):
                time.sleep(0.05)
        assert not left.exists()


def test_a_kernel_that_does_not_hold_the_limit_is_found_out_and_waiting_takes_over(cold: Path) -> None:
    """The group limits a device that is not read from: what a wrong number or a broken kernel looks like."""
    on_one_device(cold)
    others = [found for path in sorted(Path("/dev").glob("loop[0-9]")) if (found := device.of(path))]
    if not others or HERE is None or HERE.version != 1:
        absent("needs cgroup v1 and a second block device")
    throttle = KernelThrottle(ThreadGroup(HERE, others[0], 10 * MB), 10 * MB, "as asked", Cancel())
    try:
        began = time.monotonic()
        read_by(throttle, cold)
        took = time.monotonic() - began
    finally:
        throttle.close()
    assert throttle.failed
    assert "did not hold" in throttle.report(SIZE, took)


def test_what_comes_from_memory_is_not_counted_against_the_disk(cold: Path) -> None:
    own = on_one_device(cold)
    cold.read_bytes()
    with throttled(Limit(rate=LIMIT), own, no_speed, Cancel()) as throttle:
        assert isinstance(throttle, KernelThrottle)
        throttle.enter()
        began = time.monotonic()
        descriptor = os.open(cold, os.O_RDONLY)
        for at in range(0, SIZE, READ):
            throttle.take(READ)
            os.pread(descriptor, READ, at)
        os.close(descriptor)
        took = time.monotonic() - began
        said = throttle.report(SIZE, took)
    assert took < SIZE / LIMIT
    assert not throttle.failed
    assert "came from memory" in said


def test_a_stop_is_heard_while_reading_is_held_back() -> None:
    cancel = Cancel()
    with throttled(Limit(rate=1 << 20), "it is on btrfs", no_speed, cancel) as throttle:
        timer = threading.Timer(0.2, cancel.set)
        timer.start()
        with pytest.raises(Stopped):
            for _ in range(100):
                throttle.take(8 << 20)


def test_a_device_that_the_kernel_takes_no_limit_for_is_told() -> None:
    if HERE is None or os.geteuid():
        absent("needs root and a cgroup that limits reading")
    with pytest.raises(Unavailable):
        ThreadGroup(HERE, Device(4095, 77), LIMIT)


def test_what_the_kernel_fetched_is_counted_here() -> None:
    assert kernel.fetched() is not None
