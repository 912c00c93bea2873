"""The transaction: whatever kills a commit or an undo, the image ends old or new, and says which."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.guest import inuse, overlay, surgery, target
from engines.guest.undolog import HasRun, UndoLog
from engines.job.errors import Refused
from tests.engines.guest.images import MIB, clean, loop, qcow2, raw, same_disk, sha256, written

WRITES = (
    "write -P 0x41 0 4096",
    "write -P 0x42 1000k 300k",
    "write -z 2M 1M",
    "write -P 0x43 7M 64k",
    "discard 4M 64k",
)


def operated(path: Path, folder: Path, log: Path, *writes: str) -> tuple[target.Target, UndoLog]:
    """An undo log of some guest writes on an overlay; the image is untouched."""
    folder.mkdir()
    found = target.look(path)
    layers = overlay.create(found, folder)
    written(layers.top, *(writes or WRITES))
    layers.fold()
    made = UndoLog(log)
    made.prepare(path, layers.changed(), found.size)
    return found, made


def done(work: Iterator[int]) -> None:
    for _ in work:
        continue


def committed(log: UndoLog, path: Path) -> None:
    held = inuse.hold(path)
    try:
        done(log.commit(held))
    finally:
        held.release()


@pytest.fixture(
    params=["raw", "block", "qcow2", "qcow2 with a backing file", "qcow2 with a snapshot", "qcow2 compressed"]
)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    match request.param:
        case "raw":
            yield raw(tmp_path / "image:with a colon.img")
        case "block":
            with loop(raw(tmp_path / "disk.img")) as device:
                yield device
        case "qcow2 with a backing file":
            raw(tmp_path / "base.img")
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", "top.qcow2"]
            subprocess.run(command, check=True, cwd=tmp_path)
            written(tmp_path / "top.qcow2", "write -P 0x30 5M 64k")
            yield tmp_path / "top.qcow2"
        case "qcow2 with a snapshot":
            made = qcow2(tmp_path / "a.qcow2")
            subprocess.run(["qemu-img", "snapshot", "-c", "before update", made], check=True)
            yield made
        case kind:
            yield qcow2(tmp_path / "a.qcow2", *(["-c"] if "compressed" in kind else []))


def test_a_commit_is_what_qemu_would_have_written_and_an_undo_is_bit_for_bit(image: Path, tmp_path: Path) -> None:
    before = sha256(image)
    form = "qcow2" if image.suffix == ".qcow2" else "raw"
    expected = tmp_path / "expected.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", form, "-O", "qcow2", image, expected], check=True)
    written(expected, *WRITES)
    _, log = operated(image, tmp_path / "layers", tmp_path / "undo")
    assert sha256(image) == before
    committed(log, image)
    assert same_disk(image, expected, (form, "qcow2"))
    assert form == "raw" or clean(image)
    done(surgery.take_back(log.folder))
    assert sha256(image) == before
    assert form == "raw" or clean(image)
    assert log.undone


def test_internal_snapshots_are_what_they_were_after_a_commit(tmp_path: Path) -> None:
    image = qcow2(tmp_path / "a.qcow2")
    subprocess.run(["qemu-img", "snapshot", "-c", "one", image], check=True)
    _, log = operated(image, tmp_path / "layers", tmp_path / "undo")
    committed(log, image)
    subprocess.run(
        ["qemu-img", "convert", "-l", "snapshot.name=one", "-O", "raw", image, tmp_path / "one.img"], check=True
    )
    assert same_disk(tmp_path / "one.img", tmp_path / "a.plain", ("raw", "raw"))


def killed(log: Path, image: Path, what: str, after: int, still: bool) -> None:
    """A process that commits or undoes, gone by SIGKILL behind that many pieces: standing still, or as it goes on."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            held = inuse.hold(image, powered_off=True)
            for number, _ in enumerate(getattr(UndoLog(log), what)(held), 1):
                os.write(writer, b".")
                if still and number == after:
                    signal.pause()
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    seen = 0
    while seen < after and os.read(reader, 1):
        seen += 1
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reader)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_commit_killed_at_any_moment_is_finished_or_rolled_back(kind: str, tmp_path: Path) -> None:
    image = raw(tmp_path / "a.img") if kind == "raw" else qcow2(tmp_path / "a.qcow2")
    old = sha256(image)
    many = tuple(f"write -P {n % 250 + 1} {n * 64}k 64k" for n in range(0, 128, 2))
    _, log = operated(image, tmp_path / "layers", tmp_path / "undo", *many)
    committed(log, image)
    new = sha256(image)
    done(surgery.take_back(log.folder))
    between = 0
    for nth in range(12):
        for mark, ready in (("undone", True), ("committed", True), ("undoing", True)):
            if ready and (log.folder / mark).exists():
                (log.folder / mark).rename(log.folder / f"{mark}.ready")
        assert sha256(image) == old
        still = nth % 3 == 0
        killed(log.folder, image, "commit", random.randrange(1, 60) if still else random.randrange(70), still)
        assert not still or sha256(image) not in (old, new)
        between += sha256(image) not in (old, new)
        if not log.committed:
            assert log.unfinished
        if nth % 2:
            done(surgery.finish(log.folder))
            assert sha256(image) == new
            assert not log.unfinished
        killed(log.folder, image, "undo", random.randrange(70), still)
        done(surgery.take_back(log.folder))
        assert sha256(image) == old
        assert not log.unfinished
    assert between  # else no kill met the work


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sectors=st.sets(st.integers(0, 1023), max_size=40))
def test_writes_torn_at_any_sector_are_taken_back(sectors: set[int], tmp_path: Path) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    image = raw(folder / "a.img", 2 * MIB)
    old = sha256(image)
    _, log = operated(image, folder / "layers", folder / "undo", "write -P 0x55 0 512k")
    with image.open("r+b") as stream:
        for sector in sectors:
            stream.seek(sector * 512)
            stream.write(b"\x55" * 512)
    done(surgery.take_back(log.folder))
    assert sha256(image) == old


def test_an_image_that_ran_since_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    image = raw(tmp_path / "a.img")
    _, log = operated(image, tmp_path / "layers", tmp_path / "undo")
    committed(log, image)
    written(image, "write -P 0x99 1100k 4k", form="raw")
    now = sha256(image)
    with pytest.raises(HasRun, match="changed in 1 of"):
        done(surgery.take_back(log.folder))
    assert sha256(image) == now


def test_a_disk_too_full_for_the_commit_refuses_before_the_first_byte(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "crashcart-test", str(place)], check=True)
    try:
        image = place / "a.img"
        with image.open("wb") as stream:
            stream.truncate(8 * MIB)
            stream.seek(510)
            stream.write(b"\x55\xaa")
        before = sha256(image)
        _, log = operated(image, tmp_path / "layers", tmp_path / "undo", "write -P 0x41 0 3M")
        with pytest.raises(Refused, match="No space left"):
            committed(log, image)
        assert sha256(image) == before
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_state_disk_too_full_for_the_undo_log_refuses_with_the_image_untouched(tmp_path: Path) -> None:
    image = raw(tmp_path / "a.img")
    before = sha256(image)
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "crashcart-test", str(place)], check=True)
    try:
        with pytest.raises(Refused, match="undo"):
            operated(image, tmp_path / "layers", place / "undo", "write -P 0x41 0 3M")
        assert not UndoLog(place / "undo").prepared
    finally:
        subprocess.run(["umount", place], check=True)
    assert sha256(image) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-O", "vmdk"], "vmdk"),
        (["-O", "vdi"], "vdi"),
        (["-O", "vhdx"], "vhdx"),
        (["-O", "qcow2", "-o", "data_file=ext.raw"], "another file"),
        (
            [
                "--object",
                "secret,id=s,data=abc",
                "-O",
                "qcow2",
                "-o",
                "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
            ],
            "encrypted",
        ),
    ],
)
def test_images_that_are_not_operated_on_are_refused_by_name(options: list[str], said: str, tmp_path: Path) -> None:
    raw(tmp_path / "plain.img", 2 * MIB)
    subprocess.run(["qemu-img", "convert", *options, "plain.img", "other.qcow2"], check=True, cwd=tmp_path)
    with pytest.raises(Refused) as refused:
        target.look(tmp_path / "other.qcow2")
    assert said in refused.value.why
    assert refused.value.what_helps


def test_a_missing_backing_file_is_named(tmp_path: Path) -> None:
    raw(tmp_path / "base.img")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", "top.qcow2"]
    subprocess.run(command, check=True, cwd=tmp_path)
    (tmp_path / "base.img").unlink()
    with pytest.raises(Refused, match=r"base\.img"):
        target.look(tmp_path / "top.qcow2")
