"""One ward for all tests of put, and the points that get takes from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.backup.commands import put
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree
from tests.engines.backup.files.get_lab import Staged, many, staged
from tests.engines.backup.files.judging import MIB, customer, mounted, run, table
from tests.engines.backup.put.ward import SCRIPT, SIZE, START, Ward, accident
from tests.engines.backup.store.weed import Weed


@pytest.fixture(scope="session")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("ward")
    image = table(folder / "guest.img", 64 * MIB, SCRIPT)
    run("mkfs.vfat", "--offset", "2048", image, str(16 * 1024))
    run("mke2fs", "-q", "-t", "ext4", "-E", f"offset={START}", "-L", "root", image, str(SIZE // 1024))
    with mounted(image, folder / "seen", START, SIZE) as root:
        customer(root)
    before = {"XDG_STATE_HOME": str(folder / "state")}
    kept = {name: os.environ.get(name) for name in before}
    os.environ |= before
    repo = lab.init(folder / "repo")
    point = lab.backup(repo, image)
    made = Ward(folder, image, repo, point, {})
    made.before = made.files(image)
    with mounted(image, folder / "seen", START, SIZE) as root:
        accident(root)
    for name, value in kept.items():
        if value is not None:
            os.environ[name] = value
    yield made
    put.kept.close_all()


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    with staged(tmp_path_factory.mktemp("guest"), guest_tree.everything) as found:
        yield found


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    with staged(tmp_path_factory.mktemp("evil"), guest_tree.hostile) as found:
        yield found


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    with staged(tmp_path_factory.mktemp("crowd"), many) as found:
        yield found


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """One S3 server for all tests; each makes a bucket of its own."""
    with Weed(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture
def bucket(weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket whose access is written down."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = weed.bucket(f"test-{os.urandom(6).hex()}")
    weed.allow(name)
    return name


@pytest.fixture
def vault(weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository in a bucket that keeps versions and allows locks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bucket = weed.bucket(f"vault-{os.urandom(6).hex()}", locked=True)
    weed.allow(bucket)
    repo = f"s3://{bucket}/ams"
    lab.done("backup-init", repo=repo)
    return repo
