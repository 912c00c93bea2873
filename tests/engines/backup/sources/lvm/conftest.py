"""One guest for the whole session: booting it takes longer than most scenes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.backup.sources.lvm.machine import Guest

LIBRARIES = ("numpy", "xxhash", "blake3", "zstandard", "cryptography.hazmat.primitives.ciphers.aead")
SCENES = "tests.engines.backup.sources.lvm.inside"
WARM = (
    *LIBRARIES,
    "engines.backup.engine",
    "engines.backup.limits.speed",
    "engines.backup.limits.kernel",
    "engines.backup.limits.groups",
    *(f"{SCENES}.{name}" for name in ("snapshots", "moments", "limits", "backups", "hints")),
)
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("guest")
    with Guest(folder, {"vda": GIB, "vdb": GIB, "vdc": 64 * MIB}, warm=WARM) as booted:
        booted.call(f"{SCENES}.scenes:prepare")
        yield booted
