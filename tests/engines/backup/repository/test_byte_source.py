"""A point as bytes: any read at any place gives what the disk had."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.backup.errors import Damaged
from engines.backup.repository.byte_source import open_point
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB


@pytest.fixture
def staged(tmp_path: Path) -> tuple[str, bytes]:
    source = lab.disk(tmp_path / "disk", {0: 1, 1: 2, 5: 3, 600: 4}, 600 * MIB + 4321)
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, source)
    return repo, source.read_bytes()


def test_any_read_gives_what_the_disk_had(staged: tuple[str, bytes]) -> None:
    repo, wanted = staged
    repository = lab.opened(repo)
    rng = random.Random(3)
    with open_point(repository, repository.names()[0]) as found:
        assert found.size == len(wanted)
        places = [(rng.randrange(7 * MIB), rng.randrange(3 * MIB)) for _ in range(60)]
        places += [(600 * MIB - 5, 10), (len(wanted) - 1, 50), (len(wanted), 1), (0, 0)]
        with ThreadPoolExecutor(4) as threads:
            for (at, length), read in zip(places, threads.map(lambda place: found.read(*place), places), strict=True):
                assert read == wanted[at : at + length]
        for at in range(0, 7 * MIB, 100_000):
            assert found.read(at, 100_000) == wanted[at : at + 100_000]


def test_extents_name_all_that_is_not_zero(staged: tuple[str, bytes]) -> None:
    repo, wanted = staged
    repository = lab.opened(repo)
    with open_point(repository, repository.names()[0]) as found:
        assert list(found.extents()) == [(0, 2 * MIB), (5 * MIB, 6 * MIB), (600 * MIB, len(wanted))]


def test_a_damaged_block_is_an_error_and_never_data(staged: tuple[str, bytes]) -> None:
    repo, _ = staged
    file = max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    raw = bytearray(file.read_bytes())
    raw[300] ^= 1
    file.write_bytes(raw)
    repository = lab.opened(repo)
    with open_point(repository, repository.names()[0]) as found, pytest.raises(Damaged):
        for at in (0, MIB, 5 * MIB):
            found.read(at, 10)


def test_what_is_being_read_is_pinned(staged: tuple[str, bytes]) -> None:
    repo, wanted = staged
    repository = lab.opened(repo)
    name = repository.names()[0]
    source = Path(repo).parent / "disk"
    lab.backup(repo, source)
    with open_point(repository, name) as found:
        lab.done("backup-prune", repo=repo, keep_last=1)
        lab.done("backup-gc", repo=repo)
        assert found.read(5 * MIB, 100) == wanted[5 * MIB : 5 * MIB + 100]
