"""A guest's record holds what lies beside its disks, and nothing that QEMU's own user puts in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.backup.sources.guest import record
from engines.backup.sources.guest.domain import DomainGuest
from engines.job.errors import Refused


def guest(folder: Path) -> DomainGuest:
    (folder / "tpm").mkdir(exist_ok=True)
    (folder / "tpm/tpm2-00.permall").write_bytes(b"tpm")
    return DomainGuest(
        name="web1", uuid="6695eb01-f6a4-8304-79aa-97f2502e193f", text="<domain/>", now="<domain/>", running=True,
        disks=(), left_out=(), notes=(), nvram=folder / "vars.fd", tpm=folder / "tpm",
    )  # fmt: skip


def test_it_gives_back_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "vars.fd").write_bytes(b"vars")
    record.write(guest(tmp_path), tmp_path / "record")
    found = record.read((tmp_path / "record").read_bytes())
    assert found == {"domain.xml": b"<domain/>", "nvram": b"vars", "tpm/tpm2-00.permall": b"tpm"}


@pytest.mark.parametrize("what", ["a link", "a fifo", "a file without an end"])
def test_what_was_exchanged_is_refused_by_name(tmp_path: Path, what: str) -> None:
    (tmp_path / "shadow").write_text("root:secret")
    match what:
        case "a link":
            (tmp_path / "vars.fd").symlink_to(tmp_path / "shadow")
        case "a fifo":
            os.mkfifo(tmp_path / "vars.fd")
        case _:
            (tmp_path / "vars.fd").touch()
            os.truncate(tmp_path / "vars.fd", 1 << 40)
    with pytest.raises(Refused, match=r"vars\.fd of web1 cannot be read"):
        record.write(guest(tmp_path), tmp_path / "record")
    assert not (tmp_path / "record").exists() or b"secret" not in (tmp_path / "record").read_bytes()
