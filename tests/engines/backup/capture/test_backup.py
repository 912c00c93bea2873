"""What a backup promises: what was read comes back, and nothing is stored twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.backup.repository.point import MAP
from engines.backup.sources.opening import open_source
from engines.job.contract import Finished, Log, RunFailed, Warned
from engines.job.errors import Refused
from engines.job.journal import Entry, entries
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.restoring.loop import loop


@pytest.mark.parametrize("size", [0, 1, 4096, MIB - 1, MIB, MIB + 1, 9 * MIB + 777, (MAP + 3) * MIB + 5])
def test_a_disk_of_any_size_comes_back_byte_for_byte(tmp_path: Path, size: int) -> None:
    last = max(size - 1, 0) // MIB
    source = lab.disk(tmp_path / "disk", {0: 1, last // 2: 2, last: 3} if size else {}, size)
    repo = lab.init(tmp_path / "repo")
    assert lab.content(repo, lab.backup(repo, source)) == source.read_bytes()


def test_a_disk_without_bytes_is_told_whenever_it_is_backed_up(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    repo = lab.init(tmp_path / "repo")
    words = {"repo": repo, "vm": "web1", "limit": "none"}
    assert lab.warned("backup", source=str(source), **words) == []
    source.write_bytes(b"")
    for _ in range(2):
        assert any("has no bytes" in text for text in lab.warned("backup", source=str(source), **words))
    assert any("has no bytes" in text for text in lab.warned("backup", source=str(source), **{**words, "vm": "new"}))


def test_a_device_to_which_nothing_is_attached_is_no_disk(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with (
        loop(tmp_path / "empty") as device,
        pytest.raises(Refused, match="has no bytes") as refused,
        open_source(str(device)),
    ):
        pass
    assert "attach" in refused.value.what_helps


def test_an_unchanged_disk_stores_only_its_point(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at for at in range(20)}, 32 * MIB)
    repo = lab.init(tmp_path / "repo")
    first = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none")
    again = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none")
    assert first["changed"] == 20 * MIB
    assert again["changed"] == 0
    assert again["stored"] < 1024
    assert lab.content(repo, again["point"]) == source.read_bytes()


def test_only_changed_blocks_are_stored(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at for at in range(20)}, 40 * MIB)
    repo = lab.init(tmp_path / "repo")
    first = lab.backup(repo, source)
    before = source.read_bytes()
    lab.disk(source, {**{at: at for at in range(20)}, 3: 103, 30: 130}, 40 * MIB)
    second = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none")
    assert second["changed"] == 2 * MIB
    assert second["stored"] < 2 * MIB
    assert lab.content(repo, first) == before
    assert lab.content(repo, second["point"]) == source.read_bytes()


def test_blocks_are_shared_between_disks_and_within_one(tmp_path: Path) -> None:
    one = lab.disk(tmp_path / "one", {at: at % 3 for at in range(12)}, 12 * MIB)
    two = lab.disk(tmp_path / "two", {5: 1, 6: 2}, 20 * MIB)
    repo = lab.init(tmp_path / "repo")
    stored = lab.done("backup", repo=repo, source=str(one), vm="web1", limit="none")["stored"]
    assert stored < 3 * MIB
    other = lab.done("backup", repo=repo, source=str(two), vm="web2", limit="none")
    assert other["stored"] < 4096
    assert lab.content(repo, other["point"]) == two.read_bytes()


@pytest.mark.parametrize("sizes", [(5 * MIB + 7, 9 * MIB), (9 * MIB, 5 * MIB + 7), (4 * MIB, 4 * MIB + 1)])
def test_a_resized_disk_is_backed_up_right(tmp_path: Path, sizes: tuple[int, int]) -> None:
    repo = lab.init(tmp_path / "repo")
    for size in sizes:
        source = lab.disk(tmp_path / "disk", {at: at for at in range(-(-size // MIB))}, size)
        assert lab.content(repo, lab.backup(repo, source)) == source.read_bytes()


@pytest.mark.parametrize(
    ("blocks", "size", "smaller"),
    [({at: at for at in range(9)}, 9, 5), ({0: 1, 513: 2}, 520, 516), ({3: 3}, 1100, 512)],
)
@pytest.mark.parametrize("changed", [False, True])
def test_a_disk_that_was_cut_and_is_otherwise_the_same_has_a_point_of_its_own(
    tmp_path: Path, blocks: dict[int, int], size: int, smaller: int, changed: bool
) -> None:
    """As lvreduce leaves it, by whole MiB."""
    source = lab.disk(tmp_path / "disk", blocks, size * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, source)
    os.truncate(source, smaller * MIB)
    if changed:
        with source.open("r+b") as stream:
            stream.write(b"superblock")
    point = lab.backup(repo, source)
    assert lab.content(repo, point) == source.read_bytes()
    lab.verified(repo=repo)
    with source.open("r+b") as stream:
        stream.seek((smaller - 1) * MIB)
        stream.write(b"x")
    assert lab.content(repo, lab.backup(repo, source)) == source.read_bytes()


def test_data_that_becomes_zeros_and_a_hole_that_is_filled_are_changes(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1, 1: 2, 2: 3}, 24 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, source)
    with source.open("r+b") as stream:
        stream.seek(MIB)
        stream.write(bytes(MIB))
        stream.seek(20 * MIB)
        stream.write(lab.block(9))
    assert lab.content(repo, lab.backup(repo, source)) == source.read_bytes()
    subprocess.run(["fallocate", "--punch-hole", "-o", "0", "-l", str(3 * MIB), str(source)], check=True)
    assert lab.content(repo, lab.backup(repo, source)) == source.read_bytes()


def colliding() -> tuple[bytes, bytes]:
    """Two blocks with one XXH3-128 and XXH3-64 of seed 0.

    XXH3 adds, lane by lane, products of (data ^ secret) halves to accumulators: where one half is zero the product is
    zero whatever the other half is, and the two differences that remain in one stripe's plain sums cancel each other.
    """
    import struct

    import xxhash

    one, other = bytearray(lab.block(1)), bytearray(lab.block(1))
    secret = _secret()
    found = 0
    for stripe in (3, 5):
        keys = struct.unpack_from("<8Q", secret, stripe * 8)
        base = stripe * 64
        low = keys[0] & 0xFFFFFFFF
        for block, high in ((one, 0x1111), (other, 0x2222)):
            high_half = high if stripe == 3 else 0x3333 - high
            struct.pack_into("<Q", block, base, low | (high_half << 32))
        found += 1
    assert found == 2
    assert one != other
    assert xxhash.xxh3_128_digest(bytes(one)) == xxhash.xxh3_128_digest(bytes(other))
    return bytes(one), bytes(other)


def _secret() -> bytes:
    """The first bytes of XXH3's default secret (xxHash specification, kSecret)."""
    return bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e"
        "e03590e6813a264c3c2852bb91c300cb88d0658b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a"
        "51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8f"
        "f8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    )


def test_blocks_that_collide_in_xxh3_are_told_apart(tmp_path: Path) -> None:
    one, other = colliding()
    repo = lab.init(tmp_path / "repo")
    source = tmp_path / "disk"
    points = []
    for content in (one + other, other + one, other + other):
        source.write_bytes(content)
        points.append((lab.backup(repo, source), content))
    for point, content in points:
        assert lab.content(repo, point) == content


def test_strict_compares_by_blake3_and_finds_the_same(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at for at in range(9)}, 9 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, source, strict=True)
    lab.disk(source, {**{at: at for at in range(9)}, 4: 44}, 9 * MIB)
    found = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none", strict=True)
    assert found["changed"] == MIB
    assert lab.content(repo, found["point"]) == source.read_bytes()


def test_without_positions_the_next_backup_stores_no_block_again(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at for at in range(9)}, 9 * MIB)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, source)
    for path in Path(repo, "positions").rglob("*.pos"):
        path.unlink()
    found = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none")
    assert found["changed"] == 0
    assert found["stored"] < 1024


def test_a_source_that_shrinks_while_it_is_read_makes_no_point(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {at: at for at in range(64)}, 64 * MIB)
    repo = lab.init(tmp_path / "repo")

    def cut(entry: Entry) -> None:
        if isinstance(entry.event, Log):
            os.truncate(source, 10 * MIB)

    _, last = lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="20M", listen=cut)
    assert isinstance(last, RunFailed), last
    assert "shrank" in last.why
    assert not list(Path(repo, "points").rglob("*.point"))


def test_a_second_backup_in_the_same_second_gets_a_time_of_its_own(tmp_path: Path) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    repo = lab.init(tmp_path / "repo")
    points = [lab.backup(repo, source) for _ in range(4)]
    assert len(set(points)) == 4
    assert points == sorted(points)


def test_a_qcow2_image_is_read_as_its_guest_sees_it(tmp_path: Path) -> None:
    raw = lab.disk(tmp_path / "raw", {0: 1, 3: 2, 17: 3}, 20 * MIB)
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(image)], check=True)
    repo = lab.init(tmp_path / "repo")
    before = image.read_bytes()
    found = lab.done("backup", repo=repo, source=str(image), vm="web1", limit="none")
    assert found["read"] < 16 * MIB
    assert lab.content(repo, found["point"]) == raw.read_bytes()
    assert image.read_bytes() == before


def test_a_raw_image_that_pretends_to_be_qcow2_is_not_guessed_at(tmp_path: Path) -> None:
    source = tmp_path / "disk.img"
    source.write_bytes(b"QFI\xfb" + bytes(MIB))
    repo = lab.init(tmp_path / "repo")
    with pytest.raises(Refused, match="fake"):
        lab.backup(repo, source)
    assert lab.content(repo, lab.backup(repo, source, format="raw")) == source.read_bytes()


MAPPED = "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 4096); print(f.close()); input()"


@pytest.mark.parametrize("script", ["f = open(__import__('sys').argv[1], 'r+b'); print(f); input()", MAPPED])
def test_an_image_that_is_open_for_writing_is_warned_of(tmp_path: Path, script: str) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    repo = lab.init(tmp_path / "repo")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-u", "-c", script, str(source)], **pipes) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        run, last = lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="none")
        writer.kill()
    assert isinstance(last, Finished)
    assert any(isinstance(entry.event, Warned) and "in use" in entry.event.text for entry in entries(run.journal))
    run, _ = lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="none")
    assert not [entry.event for entry in entries(run.journal) if isinstance(entry.event, Warned)]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "x" * 200, "a b", "a\n"])
def test_no_name_leads_out_of_the_repository(tmp_path: Path, name: str) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    repo = lab.init(tmp_path / "repo")
    with pytest.raises(Refused):
        lab.backup(repo, source, vm=name)


@pytest.mark.parametrize(("wish", "words"), [({"agent": "/run/agent"}, "--agent"), ({"snapshot_size": "1G"}, "--snap")])
def test_what_only_a_snapshot_could_fulfil_is_refused_for_a_file(
    tmp_path: Path, wish: dict[str, str], words: str
) -> None:
    source = lab.disk(tmp_path / "disk", {0: 1}, MIB)
    repo = lab.init(tmp_path / "repo")
    with pytest.raises(Refused) as caught:
        lab.perform_job("backup", repo=repo, source=str(source), vm="web1", **wish)
    assert "is no LVM volume" in caught.value.why and words in caught.value.what_helps
