"""What restoring starts from: a disk that was backed up, and another host to restore it to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.engines.backup.restoring.there import There, another_host


@pytest.fixture
def staged(tmp_path: Path) -> tuple[str, str, bytes]:
    """(repository, point, the disk's bytes): 24 MiB with data, zeros and an odd end."""
    source = lab.disk(tmp_path / "disk", {0: 1, 1: 2, 9: 3, 10: 4, 11: 5, 23: 6}, 24 * MIB - 1536)
    repo = lab.init(tmp_path / "repo")
    return repo, lab.backup(repo, source), source.read_bytes()


@pytest.fixture(scope="package")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    with another_host(tmp_path_factory.mktemp("there")) as found:
        yield found
