"""A bucket's past goes to any place that has room for it, and what keeps it there: locks, renewed in time."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from engines.backup import names
from engines.backup.commands.lock import DAY, Term
from engines.backup.names import stamp
from engines.backup.store.opening import open_store
from engines.backup.store.sftp import access
from engines.job.contract import Finished, RunFailed
from engines.job.errors import BadParam, Refused
from tests.engines.backup import lab
from tests.engines.backup.store.sshd import Sshd

MIB = 1 << 20
SIZE = 8 * MIB


def test_a_rewind_onto_a_full_disk_says_how_much_room_is_missing_and_is_taken_up(vault: str, tmp_path: Path) -> None:
    source = tmp_path / "disk"
    source.write_bytes(os.urandom(SIZE))
    point = lab.backup(vault, source)
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=True)
    try:
        into = str(place / "back")
        run, last = lab.perform_job("backup-rewind", repo=vault, at=stamp(time.time() + 60), into=into)
        assert isinstance(last, RunFailed) and "is full" in last.why, last
        assert "MiB more there" in last.what_helps and "prune" not in last.what_helps
        assert not Path(into, "config.json").exists(), "half of it is no repository"
        subprocess.run(["mount", "-o", "remount,size=60m", place], check=True)
        _, last = lab.followed(run, "resume")
        assert isinstance(last, Finished), last
        assert lab.content(into, point) == source.read_bytes()
        assert not list(Path(into).rglob("*.part"))
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_copy_is_locked_like_any_other_and_a_rewind_of_it_goes_to_a_bucket_and_to_a_far_folder(
    vault: str, tmp_path: Path
) -> None:
    bucket = vault.split("/")[2]
    here = lab.init(tmp_path / "here")
    source = lab.disk(tmp_path / "disk", {0: 1, 5: 2}, SIZE)
    point = lab.backup(here, source)
    lab.done("backup-copy", repo=here, to=vault)
    locked = lab.done("backup-lock", repo=vault, days=2)
    assert (locked["points"], locked["renewed"]) == (1, locked["files"])
    assert lab.done("backup-copy", repo=here, to=vault)["stored"] == 0, (
        "what is locked is found there like anything else"
    )
    good = stamp(time.time())
    time.sleep(1.1)
    open_store(vault).delete(names.parse(point).path())
    (tmp_path / "sshd").mkdir()
    with Sshd(tmp_path / "sshd") as sshd:
        path = access.access_file()
        entry = {"key_file": str(sshd.folder / "key"), "host_key": sshd.fingerprint, "patience": 60}
        path.write_text(json.dumps({sshd.place: entry}))
        for into in (f"s3://{bucket}/again", sshd.url(tmp_path / "far")):
            found = lab.done("backup-rewind", repo=vault, at=good, into=into)
            assert found["points"] == 1 and lab.content(into, point) == source.read_bytes()


def test_what_has_not_been_yet_and_a_place_within_a_repository_are_refused(vault: str, tmp_path: Path) -> None:
    """A year that is mistyped would give what is there now by the name of another time."""
    with pytest.raises(BadParam, match="a time that has been"):
        lab.perform_job("backup-rewind", repo=vault, at="20990101T000000Z", into=str(tmp_path / "back"))
    for within in ("points", "back/then/"):
        with pytest.raises(Refused, match=f"lies in the repository {vault}"):
            lab.perform_job("backup-rewind", repo=vault, at=stamp(time.time() + 60), into=f"{vault}/{within}")
        with pytest.raises(Refused, match=f"lies in the repository {vault}"):
            lab.perform_job("backup-init", repo=f"{vault}/{within}")
    lab.done("backup-init", repo=f"{vault}2")


def test_over_hundreds_of_nights_a_lock_never_runs_short_and_is_renewed_once_in_ten() -> None:
    rng = random.Random(5)
    now, until, renewed = 1.8e9, 0.0, []
    for night in range(400):
        now += DAY + rng.uniform(-3600, 3600)  # a timer that starts late, now and then
        term = Term(30, now)
        if not term.holds(until):
            until = term.until
            renewed.append(night)
        assert until - now >= 30 * DAY
    gaps = [later - earlier for earlier, later in pairwise(renewed)]
    assert min(gaps) >= 10 and max(gaps) <= 11 and len(renewed) <= 41
    assert not Term(30, now + 11 * DAY).holds(until), "nights that were missed are made up for by the next"
