"""A point goes to standard output whole, with nothing else in it; a reader that goes away is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.cli.crashcart import ARGV, ROOT
from tests.engines.backup import lab


def test_a_point_goes_through_a_pipe_byte_for_byte(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1, 5: 2, 9: 3}, 10 * lab.MIB + 512)
    point = lab.backup(repo, source)
    argv = [*ARGV, "backup", "restore", point, "-", "--repo", repo]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == source.read_bytes()
    assert b"SHA-256" in ran.stderr and b"report.md" in ran.stderr
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as cut:
        assert cut.stdout is not None and cut.stderr is not None
        os.read(cut.stdout.fileno(), 4096)
        cut.stdout.close()
        said = cut.stderr.read()
    assert cut.returncode == 1 and b"takes no more" in said
