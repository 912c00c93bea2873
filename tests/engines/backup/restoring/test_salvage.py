"""Restoring where something is wrong: a lost block, a mistyped target, a killed run, a larger device."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engines import tasks
from engines.backup.repository import pack, record
from engines.job.contract import Cancel, Context, Finished, Plan, RunFailed
from engines.job.errors import Refused
from engines.job.params import convert
from engines.job.work import typed
from tests.engines.backup import lab
from tests.engines.backup.restoring.loop import loop


def test_nothing_new_is_made_among_devices_or_in_the_repository(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB))
    for target, said in (("/dev/vg0-none", "there is no device"), (f"{repo}/packs/x", "in the repository itself")):
        with pytest.raises(Refused, match=said):
            planned(repo, point, target)
        assert not Path(target).exists()


def planned(repo: str, point: str, target: str, **params: object) -> Plan:
    engine = tasks.engine("backup-restore")
    return engine.plan(convert(engine.params, {"repo": repo, "point": point, "target": target, **params}), Cancel())


def broken(repo: str, source: Path, number: int) -> None:
    """Flip a bit of the record of one block."""
    with lab.opened(repo) as repository, source.open("rb") as stream:
        stream.seek(number * lab.MIB)
        name = repository.codec.id(record.BLOCK, stream.read(lab.MIB))
        place = next(repository.index.find(name))
        path = Path(repo, pack.name(place.pack))
    raw = bytearray(path.read_bytes())
    raw[place.offset + record.SIZE + 100] ^= 1
    path.write_bytes(raw)


def test_one_bad_block_leaves_a_hole_and_the_rest_is_restored_to_salvage(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = tmp_path / "disk"
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", str(source), "32m"], check=True)
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("whole", "broken"):
        (tree / name).write_bytes(random.Random(name).randbytes(3 * lab.MIB))
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-d", str(tree), str(source), "32m"], check=True)
    point = lab.backup(repo, source)
    content = source.read_bytes()
    number = content.index((tree / "broken").read_bytes()[lab.MIB : lab.MIB + 4096]) // lab.MIB
    broken(repo, source, number)
    target = tmp_path / "target"
    _, last = lab.perform_job("backup-restore", repo=repo, point=point, target=str(target))
    assert isinstance(last, RunFailed) and "--salvage" in last.what_helps and not target.exists()
    warned = lab.warned("backup-restore", repo=repo, point=point, target=str(target), salvage=True, verify=True)
    hole = slice(number * lab.MIB, (number + 1) * lab.MIB)
    wanted = bytearray(content)
    wanted[hole] = bytes(lab.MIB)
    assert target.read_bytes() == wanted
    assert any(f"at byte {hole.start} to {hole.stop - 1}" in text for text in warned)
    hit = [text for text in warned if text.startswith("damaged: ")]
    assert hit == ["damaged: /broken"]


def test_a_folder_that_reads_as_empty_in_a_hole_is_named_and_what_lies_beside_it_is_not(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source, filler = tmp_path / "disk", tmp_path / "filler"
    filler.write_bytes(random.Random(1).randbytes(3 * lab.MIB))
    subprocess.run(
        ["mkfs.vfat", "-C", "-F", "32", "-s", "1", str(source), str(64 * 1024)], check=True, capture_output=True
    )
    mtools = ["-i", str(source)]
    for folder in ("early", "late"):
        subprocess.run(["mcopy", *mtools, str(filler), f"::{folder}.bin"], check=True)
        subprocess.run(["mmd", *mtools, f"::{folder}"], check=True)
        subprocess.run(["mcopy", *mtools, str(filler), f"::{folder}/inside.bin"], check=True)
    subprocess.run(["mcopy", *mtools, str(filler), "::last.bin"], check=True)
    point = lab.backup(repo, source)
    folders = [at for at in range(lab.MIB, source.stat().st_size, 512) if source_has(source, at)]
    assert len(folders) == 2 and folders[0] // lab.MIB != folders[1] // lab.MIB
    for at, name in zip(folders, ("early", "late"), strict=True):
        target = tmp_path / name
        broken(repo, source, at // lab.MIB)
        warned = lab.warned("backup-restore", repo=repo, point=point, target=str(target), salvage=True)
        hit = [text for text in warned if text.startswith("damaged: ")]
        assert f"damaged: /{name}: names in it, or attributes of what is there" in hit, hit
        assert not any("/last.bin" in text for text in hit)
        broken(repo, source, at // lab.MIB)  # the same bit: whole again


def source_has(disk: Path, at: int) -> bool:
    """Whether a folder of FAT that is not the root begins at a sector."""
    with disk.open("rb") as stream:
        stream.seek(at)
        return stream.read(11) == b".          "


def test_a_lost_map_is_a_hole_as_long_as_what_it_names(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1, 511: 2, 512: 3, 600: 4}, 700 * lab.MIB)
    point = lab.backup(repo, source)
    with lab.opened(repo) as repository:
        place = next(repository.index.find(repository.point(repository.resolve(point)).maps[1]))
    path = Path(repo, pack.name(place.pack))
    raw = bytearray(path.read_bytes())
    raw[place.offset + record.SIZE + 5] ^= 1
    path.write_bytes(raw)
    target = tmp_path / "target"
    result = lab.done("backup-restore", repo=repo, point=point, target=str(target), salvage=True)
    assert result["holes"] == [[512 * lab.MIB, 700 * lab.MIB]]
    with target.open("rb") as stream:
        assert stream.read(lab.MIB) == lab.block(1)
        stream.seek(511 * lab.MIB)
        assert stream.read(lab.MIB) == lab.block(2)
        assert not any(stream.read(lab.MIB))


def test_what_a_killed_run_salvaged_is_known_again_with_its_holes(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1, 2: 7, 512: 3, 514: 4}, 516 * lab.MIB)
    point = lab.backup(repo, source)
    with lab.opened(repo) as repository:
        place = next(repository.index.find(repository.point(repository.resolve(point)).maps[1]))
    path = Path(repo, pack.name(place.pack))
    raw = bytearray(path.read_bytes())
    raw[place.offset + record.SIZE + 5] ^= 1
    path.write_bytes(raw)
    broken(repo, source, 2)
    target = tmp_path / "target"
    words: dict[str, Any] = {"repo": repo, "point": point, "target": str(target), "salvage": True}
    run, last = lab.perform_job("backup-restore", **words)
    assert isinstance(last, Finished), last
    wanted = [[2 * lab.MIB, 3 * lab.MIB], [512 * lab.MIB, 516 * lab.MIB]]
    assert last.result["holes"] == wanted
    _, last = lab.perform_job("backup-restore", mode="resume", earlier=run.id, **words)
    assert isinstance(last, Finished), last
    assert last.result["holes"] == wanted and last.result["written"] == 0 and "2 HOLES" in last.summary
    for place_of_other in (2 * lab.MIB + 5, 513 * lab.MIB, lab.MIB):  # in a hole, in a lost map, beside them
        with target.open("r+b") as stream:
            stream.seek(place_of_other)
            stream.write(b"x")
        _, last = lab.perform_job("backup-restore", mode="resume", earlier=run.id, **words)
        assert isinstance(last, RunFailed) and "is another by now" in last.why
        with target.open("r+b") as stream:
            stream.seek(place_of_other)
            stream.write(b"\0")


def test_a_killed_restore_to_a_new_file_goes_on_where_it_was(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(8)}, 16 * lab.MIB)
    point = lab.backup(repo, source)
    target = tmp_path / "target"
    partial = tmp_path / ".target.restoring"
    content = source.read_bytes()
    partial.write_bytes(content[: 5 * lab.MIB])
    with partial.open("r+b") as stream:
        stream.truncate(16 * lab.MIB)
    engine = tasks.engine("backup-restore")
    plan = planned(repo, point, str(target))
    events = list(engine.resume(typed(engine, plan), Context(cancel=Cancel(), folder=tmp_path)))
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.result["same"], last.result["written"]) == (5 * lab.MIB, 3 * lab.MIB)
    assert target.read_bytes() == content and not partial.exists()


def test_the_rest_of_a_larger_device_is_told_and_wiped_on_request(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 4 * lab.MIB)
    point = lab.backup(repo, source)
    larger = tmp_path / "larger"
    rest = b"old table" * 300000
    with larger.open("wb") as stream:
        stream.write(bytes(4 * lab.MIB) + rest)
        stream.truncate(8 * lab.MIB)
    with loop(larger) as device:
        plan = planned(repo, point, str(device))
        assert any("4.0 MiB (4194304 bytes) larger" in text and "--wipe-tail" in text for text in plan.warnings)
        assert not any(step.id == "wipe" for step in plan.steps)
        warned = lab.warned("backup-restore", repo=repo, point=point, target=str(device))
        assert any("keeps what was on it" in text for text in warned)
        assert device.read_bytes() == source.read_bytes() + rest + bytes(4 * lab.MIB - len(rest))
        lab.done("backup-restore", repo=repo, point=point, target=str(device), wipe_tail=True, verify=True)
        assert device.read_bytes() == source.read_bytes() + bytes(4 * lab.MIB)
