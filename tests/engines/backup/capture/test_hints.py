"""Hints spare reading what did not change; one that lies is found out and costs nothing but its own worth."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backup.capture.hints import LEAST, Hint
from engines.job import journal
from engines.job.contract import Finished, Log, Progress, RunFailed, Warned
from engines.job.errors import Refused
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.strike import driven, struck

DISK = 96 * MIB
REST = 40  # MiB of data that do not change


def qemu_io(image: Path, *commands: str) -> None:
    """Written by QEMU itself, which keeps its bitmaps."""
    argv = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(["qemu-io", "-f", "qcow2", *argv, str(image)], capture_output=True, text=True, check=True)
    assert "rror" not in done.stdout, done.stdout


def bitmaps(image: Path) -> list[str]:
    said = subprocess.run(["qemu-img", "info", "--output=json", str(image)], capture_output=True, check=True).stdout
    found = json.loads(said)["format-specific"]["data"].get("bitmaps", [])
    return [bitmap["name"] for bitmap in found]


@contextmanager
def held(image: Path) -> Iterator[subprocess.Popen[str]]:
    """QEMU has the image open for writing, as a running VM has."""
    argv = ["qemu-io", "-f", "qcow2", str(image)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as vm:
        assert vm.stdin is not None and vm.stdout is not None
        vm.stdin.write("length\n")
        vm.stdin.flush()
        assert "MiB" in vm.stdout.readline()
        try:
            yield vm
        finally:
            vm.kill()


def raw(image: Path) -> bytes:
    target = image.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(target)], check=True)
    content = target.read_bytes()
    target.unlink()
    return content


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "web1.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(DISK)], check=True)
    qemu_io(path, *(f"write -P {at + 1} {at}M 1M" for at in range(REST)))
    return path


@pytest.fixture
def repo(tmp_path: Path) -> str:
    return lab.init(tmp_path / "repo")


def backup(repo: str, image: Path, **params: Any) -> tuple[dict[str, Any], list[str], list[str]]:
    """The result, what was said and what was warned of."""
    given = {"limit": "none", "hints": "bitmap", **params}
    run, last = lab.perform_job("backup", repo=repo, source=str(image), vm="web1", **given)
    assert isinstance(last, Finished), last
    events = [entry.event for entry in journal.entries(run.journal)]
    passed = [event.done for event in events if isinstance(event, Progress)]
    assert passed == sorted(passed) and passed[-1] == last.result["size"]
    return (
        last.result,
        [event.text for event in events if isinstance(event, Log)],
        [event.text for event in events if isinstance(event, Warned)],
    )


def test_by_a_dirty_bitmap_only_what_changed_and_the_sample_are_read(repo: str, image: Path) -> None:
    first, said, _ = backup(repo, image)
    assert any("everything is read: the disk has no point yet" in text for text in said)
    qemu_io(image, "write -P 200 17M 1M", "write -P 201 70M 64k")
    second, _, warned = backup(repo, image)
    assert second["read"] <= (LEAST + 2 * 4) * MIB
    assert second["changed"] == 2 * MIB
    assert f"bitmap names 2.0 MiB as changed since {first['point']}" in second["hint"]
    assert f"{LEAST} blocks of the rest" in second["hint"]
    assert not warned
    assert lab.content(repo, second["point"]) == raw(image)
    third, _, _ = backup(repo, image)
    assert third["changed"] == 0 and third["read"] == LEAST * MIB
    assert lab.content(repo, third["point"]) == raw(image)
    assert len(bitmaps(image)) == 1


def test_what_is_discarded_becomes_zeros_by_hint_too(repo: str, image: Path) -> None:
    backup(repo, image)
    qemu_io(image, "discard 4M 8M", "write -z 20M 1M")
    second, _, _ = backup(repo, image)
    assert second["changed"] == 9 * MIB
    assert lab.content(repo, second["point"]) == raw(image)


def test_a_lying_bitmap_is_found_out_by_the_sample_and_everything_is_read(repo: str, image: Path) -> None:
    backup(repo, image)
    (name,) = bitmaps(image)
    subprocess.run(["qemu-img", "bitmap", "--disable", str(image), name], check=True)
    qemu_io(image, *(f"write -P {at + 101} {at}M 1M" for at in range(REST)))
    subprocess.run(["qemu-img", "bitmap", "--enable", str(image), name], check=True)
    second, _, warned = backup(repo, image)
    assert second["hint_was_wrong"]
    assert any("THE HINT IS WRONG" in text and "everything is read" in text for text in warned)
    assert second["changed"] == REST * MIB
    assert lab.content(repo, second["point"]) == raw(image)
    third, _, warned = backup(repo, image)
    assert not warned and third["changed"] == 0


def test_a_lie_about_one_block_is_found_where_all_are_sampled(repo: str, image: Path) -> None:
    backup(repo, image)
    (name,) = bitmaps(image)
    subprocess.run(["qemu-img", "bitmap", "--disable", str(image), name], check=True)
    qemu_io(image, "write -P 250 33M 64k")
    subprocess.run(["qemu-img", "bitmap", "--enable", str(image), name], check=True)
    qemu_io(image, "write -P 251 2M 64k")
    second, _, warned = backup(repo, image, sample=100)
    assert any("block 33 of web1/disk0" in text for text in warned)
    assert second["changed"] == 2 * MIB
    assert lab.content(repo, second["point"]) == raw(image)


@pytest.mark.parametrize("how", ["off", "gone", "crashed", "pruned", "resized", "without", "strict"])
def test_a_hint_that_does_not_fit_the_point_is_not_used(repo: str, image: Path, how: str) -> None:
    first, _, _ = backup(repo, image)
    (name,) = bitmaps(image)
    qemu_io(image, "write -P 77 5M 1M")
    if how == "off":
        subprocess.run(["qemu-img", "bitmap", "--disable", str(image), name], check=True)
    elif how == "gone":
        subprocess.run(["qemu-img", "bitmap", "--remove", str(image), name], check=True)
    elif how == "crashed":
        with held(image) as vm:
            assert vm.stdin is not None
            vm.stdin.write("write -P 78 6M 1M\nflush\n")
            vm.stdin.flush()
            assert vm.stdout is not None and "wrote" in vm.stdout.readline()
            vm.kill()
    elif how == "pruned":
        lab.done("backup-prune", repo=repo, drop=(first["point"],))
    elif how == "resized":
        subprocess.run(["qemu-img", "resize", "-q", str(image), f"{DISK + MIB}"], check=True)
    elif how == "without":
        backup(repo, image, hints="none")
    second, said, _ = backup(repo, image, strict=how == "strict")
    reason = {
        "off": f"the dirty bitmap since {first['point']} was switched off",
        "gone": "has no dirty bitmap",
        "crashed": "was not closed well",
        "pruned": "has no point yet",
        "resized": "is of another size",
        "without": "has no dirty bitmap that began with",
        "strict": "every block is looked up",
    }[how]
    assert any(text.startswith("everything is read: ") and reason in text for text in said), said
    assert second["read"] >= REST * MIB
    assert lab.content(repo, second["point"]) == raw(image)


def test_an_image_whose_vm_runs_is_refused_and_stays_as_it_was(repo: str, image: Path) -> None:
    backup(repo, image)
    before = bitmaps(image)
    with held(image):
        assert "is in use by a virtual machine" in refused(repo, image, "bitmap")
    assert bitmaps(image) == before


def test_what_a_killed_backup_left_in_the_image_goes_with_the_next(repo: str, image: Path, tmp_path: Path) -> None:
    first, _, _ = backup(repo, image)
    qemu_io(image, "write -P 99 3M 1M")
    params = {"repo": repo, "source": str(image), "vm": "web1", "limit": "none", "hints": "bitmap"}
    found = struck(repo, 20, 0.0, lambda striker: driven("backup", tmp_path, striker.heard, **params))
    assert found.killed and found.step == "read"
    assert len(bitmaps(image)) == 2
    again, _, _ = backup(repo, image)
    assert f"as changed since {first['point']}" in again["hint"] and again["changed"] == MIB
    assert lab.content(repo, again["point"]) == raw(image)
    assert len(bitmaps(image)) == 1


def test_a_failed_backup_leaves_the_bitmap_of_the_last_good_one(repo: str, image: Path, tmp_path: Path) -> None:
    backup(repo, image)
    before = bitmaps(image)
    qemu_io(image, "write -P 99 3M 1M")
    packs = Path(repo, "packs")
    packs.rename(tmp_path / "away")
    packs.write_text("no folder")
    _, last = lab.perform_job("backup", repo=repo, source=str(image), vm="web1", limit="none", hints="bitmap")
    assert isinstance(last, RunFailed)
    packs.unlink()
    (tmp_path / "away").rename(packs)
    assert bitmaps(image) == before
    again, _, _ = backup(repo, image)
    assert again["changed"] == MIB and again["read"] < REST * MIB
    assert lab.content(repo, again["point"]) == raw(image)


def test_two_repositories_do_not_take_each_others_bitmaps(repo: str, image: Path, tmp_path: Path) -> None:
    other = lab.init(tmp_path / "other")
    backup(repo, image)
    backup(other, image)
    qemu_io(image, "write -P 55 9M 1M")
    for each in (repo, other):
        made, _, _ = backup(each, image)
        assert made["changed"] == MIB and made["read"] < REST * MIB
        assert lab.content(each, made["point"]) == raw(image)
    assert len(bitmaps(image)) == 2


def refused(repo: str, source: Path, hints: str) -> str:
    with pytest.raises(Refused) as caught:
        lab.perform_job("backup", repo=repo, source=str(source), vm="web1", hints=hints)
    return str(caught.value)


def test_hints_that_a_source_cannot_give_are_refused(repo: str, image: Path, tmp_path: Path) -> None:
    plain = lab.disk(tmp_path / "disk", {0: 1}, 4 * MIB)
    assert "is no qcow2 image" in refused(repo, plain, "bitmap")
    assert "is no thin LVM volume" in refused(repo, plain, "thin")
    assert "is no thin LVM volume" in refused(repo, image, "thin")
    old = tmp_path / "old.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", str(old), "8M"], check=True)
    assert "version 2, which has no dirty bitmaps" in refused(repo, old, "bitmap")


def test_a_plan_says_what_is_written_into_the_image_and_writes_nothing(repo: str, image: Path) -> None:
    from engines import tasks
    from engines.job.contract import Cancel
    from engines.job.params import convert

    engine = tasks.engine("backup")
    before = image.read_bytes()
    params = {"repo": repo, "source": str(image), "vm": "web1", "hints": "bitmap"}
    facts = dict(engine.plan(convert(engine.params, params), Cancel()).facts)
    assert "a dirty bitmap is written into the image" in facts["kept"]
    assert image.read_bytes() == before


# ── the sample ──────────────────────────────────────────────────────────────────────────────────────


def ranges(limit: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    pairs = st.tuples(st.integers(0, limit), st.integers(0, limit)).map(lambda two: (min(two), max(two)))
    return st.lists(pairs, max_size=8)


def blocks_of(found: list[tuple[int, int]], block: int, count: int) -> set[int]:
    return {
        number for start, end in found if start < end for number in range(start // block, min(-(-end // block), count))
    }


@given(changed=ranges(3000), data=ranges(3000), percent=st.integers(1, 100), count=st.integers(0, 300))
def test_the_sample_is_of_unchanged_data_and_large_enough(
    changed: list[tuple[int, int]], data: list[tuple[int, int]], percent: int, count: int
) -> None:
    hint = Hint(iter(changed), 10, count)
    hint.sample(iter(data), percent)
    named = blocks_of(changed, 10, count)
    rest = blocks_of(data, 10, count) - named
    sampled = set(hint.samples(0, count))
    assert {number for number in range(count) if hint.names(number)} == named
    assert hint.named == len(named)
    assert sampled <= rest
    assert len(sampled) == hint.sampled == min(len(rest), max(LEAST, -(-len(rest) * percent // 100)))
    assert hint.silent(0, count) == (not named and not sampled)


def test_a_hint_about_ten_terabytes_takes_a_byte_a_block() -> None:
    def every_other() -> Iterator[tuple[int, int]]:
        for at in range(0, 10_485_760, 1024):
            yield at * MIB, (at + 1) * MIB

    hint = Hint(every_other(), MIB, 10_485_760)
    hint.sample([(0, 10_485_760 * MIB)], 1)
    assert hint.named == 10240
    assert hint.sampled == -(-(10_485_760 - 10240) // 100)
