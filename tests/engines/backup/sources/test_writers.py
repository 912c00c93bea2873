"""A point says "at rest" only where nobody wrote: whoever has it open, mapped, or came and went while it was read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engines.backup.sources.plain import PlainSource
from engines.host import users
from engines.job.contract import Finished, Log, Warned
from engines.job.journal import Entry, entries
from tests.absent import absent
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.restoring.test_restore import loop

OPENED = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
print("ready", flush=True)
sys.stdin.read()
"""
MAPPED = """
import ctypes, mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
libc = ctypes.CDLL(None)  # mmap.mmap would keep a descriptor of its own
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
where = libc.mmap(None, 4096, mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, 0)
assert where != ctypes.c_void_p(-1).value
os.close(descriptor)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return lab.disk(tmp_path / "image", {0: 1, 5: 2}, 12 * MIB)


def words(path: Path) -> list[str]:
    return [user.words for user in users.writers(path)]


@contextmanager
def another(source: str, path: Path) -> Iterator[int]:
    """A process at work on the file, from when it says that it is ready; its number."""
    argv = [sys.executable, "-c", source, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid
        child.communicate()


def test_nobody_is_seen_at_a_file_that_is_only_read(image: Path) -> None:
    with another(OPENED.replace("O_RDWR", "O_RDONLY"), image):
        assert words(image) == []


def test_who_has_it_open_is_named(image: Path) -> None:
    with another(OPENED, image) as number:
        assert words(image) == [f"open in process {number} ({Path(sys.executable).name})"]


def test_who_has_it_mapped_only_is_seen_by_the_kernel(image: Path) -> None:
    with another(MAPPED, image):
        assert words(image) == ["open for writing in a process that does not show it"]
    assert words(image) == []


def touch(path: Path) -> None:
    """Somebody who comes, writes and goes."""
    with path.open("r+b") as stream:
        stream.seek(3 * MIB)
        stream.write(b"new")


def removed(path: Path) -> None:
    """Takes its name away: what is open stays what it is."""
    path.unlink(missing_ok=True)


def settled(path: Path) -> None:
    """Writes, and sets the time of it back as rsync does."""
    before = path.stat()
    touch(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


UNCERTAIN = ", or only its name or rights"


@pytest.mark.parametrize(("writes", "how"), [(touch, ""), (settled, UNCERTAIN), (removed, UNCERTAIN)])
def test_who_came_and_went_while_it_was_read_leaves_a_point_that_says_so(
    image: Path, tmp_path: Path, writes: Callable[[Path], None], how: str
) -> None:
    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Log):  # it is open by now, and nothing of it has been read
            writes(image)

    repo = lab.init(tmp_path / "repo")
    run, last = lab.perform_job("backup", repo=repo, source=str(image), vm="web1", limit="none", listen=listen)
    assert isinstance(last, Finished)
    assert last.result["consistency"] == "in use while read"
    said = [entry.event.text for entry in entries(run.journal) if isinstance(entry.event, Warned)]
    assert said == [
        f"{image} is in use (it was changed while it was read{how}):"
        " its blocks are not of one moment, so what is restored may need repair"
    ]


def test_what_was_said_when_it_was_opened_is_not_said_again(image: Path, tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    with image.open("r+b") as stream, subprocess.Popen(["sleep", "600"], stdin=stream) as user:
        run, last = lab.perform_job("backup", repo=repo, source=str(image), vm="web1", limit="none")
        user.kill()
    assert isinstance(last, Finished)
    assert last.result["consistency"] == "in use while read"
    assert sum(isinstance(entry.event, Warned) for entry in entries(run.journal)) == 1


def test_disks_claim_one_moment_only_if_none_was_written_until_all_were_read(image: Path, tmp_path: Path) -> None:
    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Log) and entry.event.text.startswith("web1/data: "):
            touch(image)

    second = lab.disk(tmp_path / "second", {0: 3}, 4 * MIB)
    _, last = lab.perform_job(
        "backup", repo=lab.init(tmp_path / "repo"), source=str(image), more=(str(second),), disk=("root", "data"),
        vm="web1", limit="none", listen=listen,
    )  # fmt: skip
    assert isinstance(last, Finished)
    assert not last.result["together"]
    assert [point["consistency"] for point in last.result["points"]] == ["at rest", "at rest"], "each alone is"


def again(path: Path) -> None:
    """What is there is written once more: of a qcow2 image, its first byte."""
    with path.open("r+b") as stream:
        stream.write(path.read_bytes()[:1])


@pytest.fixture
def qcow2(image: Path) -> Path:
    """An image on top of another."""
    below, top = image.with_name("below.qcow2"), image.with_name("top.qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(image), str(below)], check=True)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(below), str(top)]
    subprocess.run(command, check=True)
    return top


@pytest.mark.parametrize("name", ["top.qcow2", "below.qcow2"])
@pytest.mark.parametrize("stays", [True, False])
def test_who_writes_a_file_of_a_qcow2_chain_past_qemu_is_told(
    qcow2: Path, tmp_path: Path, name: str, stays: bool
) -> None:
    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Log) and not stays:
            again(qcow2.with_name(name))

    repo = lab.init(tmp_path / "repo")
    params = {"repo": repo, "source": str(qcow2), "vm": "web1", "limit": "none", "format": "qcow2"}
    assert lab.done("backup", **params)["consistency"] == "at rest"
    with another(OPENED if stays else "print('ready')", qcow2.with_name(name)):
        run, last = lab.perform_job("backup", **params, listen=listen)
    assert isinstance(last, Finished)
    assert last.result["consistency"] == "in use while read"
    assert (
        sum("is in use" in entry.event.text for entry in entries(run.journal) if isinstance(entry.event, Warned)) == 1
    )


def test_who_may_not_be_told_of_writers_makes_no_claim(image: Path) -> None:
    if os.geteuid() != 0:
        absent("needs root, to be nobody for a moment")
    image.chmod(0o644)
    descriptor = os.open(image, os.O_RDONLY)
    child = os.fork()
    if not child:
        os.setuid(65534)
        source = PlainSource(descriptor, image)
        told = source.consistency == "not known" and not source.one_moment and "as its owner" in source.warnings[0]
        os._exit(0 if told else 1)
    os.close(descriptor)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_was_written_to_a_device_meanwhile_is_seen(image: Path) -> None:
    with loop(image) as device:
        descriptor = os.open(device, os.O_RDONLY)
        with closing(PlainSource(descriptor, device)) as source:
            assert source.one_moment
            command = ["dd", "if=/dev/zero", f"of={device}", "bs=4096", "count=1", "conv=fsync,notrunc"]
            subprocess.run(command, check=True, capture_output=True)
            assert not source.one_moment
            assert "it was changed while it was read" in source.check()[0]
        os.close(descriptor)


def test_who_opens_a_device_while_it_is_read_is_seen_at_the_end(image: Path) -> None:
    with loop(image) as device:
        descriptor = os.open(device, os.O_RDONLY)
        with closing(PlainSource(descriptor, device)) as source:
            assert source.consistency == "at rest"
            with another(OPENED, device):
                assert "is in use (open in process" in source.check()[0]
            assert source.consistency == "in use while read"
        os.close(descriptor)
