"""What is written down of switches, servers and disks is obeyed where nobody else has a say in it; none is awaited."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.backup.limits import speed
from engines.backup.store.s3 import access as s3
from engines.backup.store.sftp import access as sftp
from engines.job.errors import Refused
from engines.vdx.line import patterns

READERS: dict[str, tuple[Callable[[], Path], Callable[[], object]]] = {
    "s3": (s3.access_file, lambda: s3.load(s3.parse("s3://vault"))),
    "sftp": (sftp.access_file, lambda: sftp.load(sftp.parse("sftp://root@nas/srv"))),
    "speeds": (speed.figures, speed._figures),
    "wordings": (patterns.own_file, patterns.load),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("how", ["written by all", "another user's", "without an end", "endless brackets"])
def test_a_file_that_others_have_a_say_in_or_that_has_no_end_is_refused(name: str, how: str) -> None:
    place, read = READERS[name]
    path = place()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text("{}")
    if how == "written by all":
        path.chmod(0o666)
    elif how == "another user's":
        os.chown(path, 65534, 65534)
    elif how == "without an end":
        path.unlink()
        path.symlink_to("/dev/zero")
    else:
        path.write_text("[" * 5_000)
    with pytest.raises(Refused) as refused:
        read()
    assert str(path) in refused.value.why and refused.value.what_helps


@pytest.mark.parametrize("name", READERS)
def test_a_fifo_in_its_place_is_not_waited_for(name: str) -> None:
    place, read = READERS[name]
    path = place()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.mkfifo(path, 0o600)
    try:
        read()
    except Refused as refused:
        assert str(path) in refused.why  # as an empty file, which some bear


@pytest.mark.parametrize("kind", ["fifo", "zero"])
def test_a_key_file_that_is_none_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.write_bytes(b"x" * (1 << 20))
        path.chmod(0o600)
    with pytest.raises(Refused, match="no key to read"):
        s3.read_key(path)
