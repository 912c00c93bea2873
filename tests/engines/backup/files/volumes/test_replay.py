"""A journal that waits is replayed in memory exactly as e2fsck does it, or refused by name."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backup.files.model import NOT_REPLAYED, BrowseError, Unsupported, Volume
from engines.backup.files.opening import open_tree
from engines.backup.files.volumes.disk_map import survey
from engines.backup.files.volumes.ext.crc32c import crc32c, crc32c_blocks
from engines.backup.files.volumes.ext.journal import MAGIC
from engines.backup.files.volumes.quick import REPLAYED, open_quick
from engines.backup.files.volumes.replay import Replayed, replay
from engines.backup.files.volumes.window import Window
from tests.engines.backup.files.images import MIB, Image, ext, mounted, run

SETS = {
    "ext4, 1 KiB blocks, 64-bit, checksums": ("ext4", (), ()),
    "ext4, 4 KiB blocks": ("ext4", ("-b", "4096"), ()),
    "no checksums, 32-bit": ("ext4", ("-O", "^metadata_csum,^64bit"), ()),
    "ext3": ("ext3", (), ()),
    "data in the journal": ("ext4", ("-b", "4096"), ("data=journal",)),
    "data in the journal, no checksums": ("ext4", ("-O", "^metadata_csum"), ("data=journal",)),
}


class Bytes:
    """Bytes as a Source, some of them changed."""

    def __init__(self, raw: bytes, changed: dict[int, int] | None = None) -> None:
        self.raw = raw
        self.size = len(raw)
        self.changed = changed or {}

    def read(self, offset: int, length: int) -> bytes:
        piece = self.raw[offset : offset + length]
        near = {at: value for at, value in self.changed.items() if offset <= at < offset + len(piece)}
        if not near:
            return piece
        copy = bytearray(piece)
        for at, value in near.items():
            copy[at - offset] = value
        return bytes(copy)


def busy(image: Path, *options: str, files: int = 150, seed: int = 7) -> dict[bytes, bytes]:
    """A copy beside `image`, made while it was mounted; what of it had been fsynced.

    Files come and go, so that blocks are revoked; many begin with the journal's own magic, so that they are escaped.
    """
    rng, kept = random.Random(seed), dict[bytes, bytes]()
    with mounted(image, *options) as folder:
        for number in range(files):
            path = folder / f"d{number % 9}" / f"f{number}"
            path.parent.mkdir(exist_ok=True)
            content = MAGIC.to_bytes(4, "big") + rng.randbytes(rng.randrange(9000))
            with path.open("wb", buffering=0) as stream:
                stream.write(content)
                os.fsync(stream.fileno())
            kept[f"/d{number % 9}/f{number}".encode()] = content
            if number % 40 == 39:
                gone = f"d{number // 40 % 9}"
                shutil.rmtree(folder / gone)
                kept = {name: content for name, content in kept.items() if not name.startswith(f"/{gone}/".encode())}
                last = folder / "last"
                last.write_bytes(b"")
                with last.open("rb") as stream:
                    os.fsync(stream.fileno())
        for number in range(5):
            (folder / f"unsynced{number}").write_bytes(b"may come back or not")
        shutil.copy(image, image.with_suffix(".copy"))
    return kept


def laid_over(raw: bytes) -> Replayed:
    return replay(Window(Bytes(raw), 0, len(raw)))


def served(image: Path) -> Volume:
    disk = Image(image)
    return open_quick(disk, survey(disk).volumes[0], truth=True)


@pytest.mark.parametrize("name", SETS)
def test_every_fsynced_file_comes_back_and_every_block_is_as_e2fsck_has_it(tmp_path: Path, name: str) -> None:
    kind, made, options = SETS[name]
    image = ext(tmp_path / "disk", 48 * MIB, *made, kind=kind)
    view = judge(image.with_suffix(".copy"), busy(image, *options))
    if "data" in name:
        assert any(logged.escaped for logged in view.blocks.values())


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", SETS)
def test_long_histories_whose_journal_wraps_come_back_too(tmp_path: Path, name: str, seed: int) -> None:
    kind, made, options = SETS[name]
    image = ext(tmp_path / "disk", 64 * MIB, "-J", "size=4", *made, kind=kind)
    judge(image.with_suffix(".copy"), busy(image, *options, files=900 + 40 * seed, seed=seed))


def judge(copy: Path, kept: dict[bytes, bytes]) -> Replayed:
    """What had been fsynced is there, and every block is as e2fsck puts it, but for the two superblocks."""
    volume = served(copy)
    assert volume.state == REPLAYED
    for path, content in kept.items():
        assert volume.read(path, 0, 10_000) == content, path
    view = laid_over(copy.read_bytes())
    assert len(view.blocks) > 20
    judged = copy.read_bytes()
    subprocess.run(["e2fsck", "-E", "journal_only", "-y", copy], capture_output=True, check=False, timeout=60)
    assert judged != copy.read_bytes()
    ours, theirs = view.read(0, view.size), copy.read_bytes()
    assert differing(ours, theirs) <= bookkeeping(theirs)
    return view


def differing(one: bytes, other: bytes, size: int = 1024) -> set[int]:
    return {
        at for at in range(len(one) // size) if one[at * size : at * size + size] != other[at * size : at * size + size]
    }


def bookkeeping(raw: bytes) -> set[int]:
    """The KiB that tell whether a replay is due: the superblock, and the journal's own."""
    view = Window(Bytes(raw), 0, len(raw))
    from engines.backup.files.volumes.ext import superblock
    from engines.backup.files.volumes.ext.inode import Inodes

    found = superblock.load(view)
    inodes = Inodes(view, found)
    first = next(iter(inodes.runs(inodes.get(found.journal_inode))))
    assert first.place is not None
    return {1, first.place * found.block // 1024}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    image = ext(tmp_path_factory.mktemp("dirty") / "disk", 16 * MIB, "-J", "size=1")
    busy(image, files=30)
    return image.with_suffix(".copy").read_bytes()


@pytest.fixture(scope="module")
def journal(dirty: bytes) -> int:
    return journal_at(dirty)


def written(tmp_path: Path, *commands: str, kind: str = "ext4", made: tuple[str, ...] = ()) -> Path:
    """A file system whose journal was written by debugfs."""
    image = ext(tmp_path / "disk", 16 * MIB, "-b", "1024", *made, kind=kind)
    (tmp_path / "block").write_bytes(b"Q" * 1024)
    (tmp_path / "blocks").write_bytes(b"Q" * 2048)
    (tmp_path / "magic").write_bytes(MAGIC.to_bytes(4, "big") + b"W" * 1020)
    script = "\n".join(command.replace("DIR", str(tmp_path)) for command in commands)
    run("debugfs", "-w", "-f", "-", image, given=script + "\n")
    return image


@pytest.mark.parametrize("version", [1, 2, 3])
def test_journals_of_every_checksum_version_and_revoked_blocks(tmp_path: Path, version: int) -> None:
    image = written(
        tmp_path,
        f"jo -c -v {version}" if version > 1 else "jo",
        "jw -b 9000,9001 DIR/blocks",
        "jw -b 9002 DIR/magic",
        "jw -r 9001",
        "jw -b 9003 DIR/block",
        "jc",
        made=("-O", "metadata_csum" if version > 1 else "^metadata_csum"),
    )
    raw = image.read_bytes()
    view = laid_over(raw)
    assert set(view.blocks) >= {9000, 9002, 9003}
    assert 9001 not in view.blocks
    assert view.read(9000 * 1024, 1024) == b"Q" * 1024
    assert view.read(9002 * 1024 + 2, 4) == b"\x39\x98WW"
    subprocess.run(["e2fsck", "-E", "journal_only", "-y", image], capture_output=True, check=False, timeout=60)
    assert differing(view.read(0, view.size), image.read_bytes()) <= bookkeeping(raw)


def journal_at(raw: bytes) -> int:
    """Where the journal begins, in bytes."""
    return max(bookkeeping(raw)) * 1024


def test_a_damaged_block_of_the_journal_is_refused_and_looked_past_only_with_a_label(dirty: bytes) -> None:
    raw = bytearray(dirty)
    raw[journal_at(dirty) + 2 * 1024 + 100] ^= 1
    with pytest.raises(BrowseError, match="checksum"):
        laid_over(bytes(raw))
    disk = Bytes(bytes(raw))
    info = survey(disk).volumes[0]
    with pytest.raises(BrowseError, match="checksum"):
        open_quick(disk, info, truth=True)
    with open_tree(disk, purpose="look") as tree:
        list(tree.list(b"/"))
        assert tree.opened["disk"].state == NOT_REPLAYED


def test_a_transaction_without_its_commit_is_left_out(dirty: bytes) -> None:
    raw, start = bytearray(dirty), journal_at(dirty)
    commits = [at for at in range(start, start + MIB, 1024) if raw[at : at + 8] == struct.pack(">II", MAGIC, 2)]
    whole = laid_over(dirty)
    raw[commits[-1] + 4] = 9
    fewer = laid_over(bytes(raw))
    assert sum(whole.blocks.get(block) == fewer.blocks[block] for block in fewer.blocks) < len(whole.blocks)
    raw = bytearray(dirty)
    raw[commits[3] + 50] ^= 1  # a commit whose checksum does not hold ends the journal there
    assert len(laid_over(bytes(raw)).blocks) < len(whole.blocks)


def test_what_cannot_be_replayed_says_so(tmp_path: Path, dirty: bytes) -> None:
    raw, start = bytearray(dirty), journal_at(dirty)
    raw[1024 + 0xE0 : 1024 + 0xE4] = bytes(4)
    raw[1024 + 0x3FC : 1024 + 0x400] = struct.pack("<I", crc32c(bytes(raw[1024 : 1024 + 0x3FC])))
    with pytest.raises(Unsupported, match="another disk"):
        laid_over(bytes(raw))
    raw = bytearray(dirty)
    raw[start + 43] |= 0x40
    with pytest.raises(Unsupported, match="features"):
        laid_over(bytes(raw))
    image = ext(tmp_path / "fast", 32 * MIB, "-O", "fast_commit")
    busy(image, files=12)
    with pytest.raises(Unsupported, match="fast commits"):
        laid_over(image.with_suffix(".copy").read_bytes())


def test_a_clean_journal_changes_nothing(tmp_path: Path) -> None:
    assert not laid_over(ext(tmp_path / "disk", 16 * MIB).read_bytes()).blocks


@settings(max_examples=150)
@given(data=st.data())
def test_no_journal_is_too_broken(dirty: bytes, journal: int, data: st.DataObject) -> None:
    place = st.one_of(st.integers(1024, 2047), st.integers(journal, journal + 20_000))
    changed = data.draw(st.dictionaries(place, st.integers(0, 255), max_size=6))
    if data.draw(st.booleans()):
        changed[journal + 43] = dirty[journal + 43] & ~0x18  # no checksum guards the fields
    disk = Bytes(dirty, changed)
    try:
        view = replay(Window(disk, 0, disk.size))
    except BrowseError:
        return
    for block in list(view.blocks)[:50]:
        view.read(block * 1024, 1024)


@given(raw=st.binary(min_size=256, max_size=256), seeds=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2))
def test_many_checksums_at_once_are_those_of_each(raw: bytes, seeds: list[int]) -> None:
    assert crc32c_blocks(raw, 128, seeds) == [crc32c(raw[:128], seeds[0]), crc32c(raw[128:], seeds[1])]


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283
