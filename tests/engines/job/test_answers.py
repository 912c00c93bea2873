"""Where a run takes its answers, nobody else gets in, from the first moment on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engines.job.answers import Listener


def test_its_socket_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Listener(tmp_path / "answers", 60.0):
            assert stat.S_IMODE((tmp_path / "answers").lstat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not (tmp_path / "answers").exists()
