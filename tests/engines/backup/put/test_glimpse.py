"""What is in the way is told before an appliance is started: none can be here."""

from __future__ import annotations

from pathlib import Path

import pytest

import engines
from engines.rehearsal import disk


def test_the_question_of_what_becomes_of_a_file_needs_no_appliance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = disk.make(tmp_path)
    monkeypatch.setenv("LIBGUESTFS_HV", "/nonexistent")
    image, names = Path(made["source"]), {"/etc/hosts": "1 of", "/var/www/shop/*": "and 56 more"}
    before = image.read_bytes()
    for name, told in names.items():
        with pytest.raises(engines.Refused) as refused:
            engines.plan("backup-put", repo=made["repo"], paths=[f"rehearsal/disk0@latest:{name}"], into=str(image))
        assert told in refused.value.why
        assert "--conflict overwrite, rename or skip" in refused.value.what_helps
    for elsewhere in ({"at": "/var/www"}, {"conflict": "skip"}):  # here the appliance has to be asked, and is not there
        with pytest.raises(engines.Refused, match="the guest cannot be read"):
            engines.plan(
                "backup-put",
                repo=made["repo"],
                paths=["rehearsal/disk0@latest:/etc/hosts"],
                into=str(image),
                **elsewhere,
            )
    assert image.read_bytes() == before
