"""Files come out of a point as they were; what is there already stays unless it was said what becomes of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engines import tasks
from engines.job import answers, runs
from engines.job.contract import Asked, Cancel, Finished
from engines.job.errors import BadParam, Refused
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert
from engines.job.perform import perform
from tests.agreed import AGREED
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree
from tests.engines.backup.files.get_lab import Staged, finished, same
from tests.engines.backup.lab import MIB


def test_a_whole_tree_equals_what_the_kernel_mounts(guest: Staged, tmp_path: Path) -> None:
    result = finished(guest.get(tmp_path / "out", owner=True))
    same(guest, tmp_path / "out")
    assert result["notes"] == []
    assert result["bytes"] < 2 * MIB  # the holes of a 40 MiB file were not written


def test_without_owner_the_files_are_ours_and_what_was_left_is_said(guest: Staged, tmp_path: Path) -> None:
    result = finished(guest.get(tmp_path / "out", "/empty", "/srv"))
    taken = tmp_path / "out/empty"
    assert (taken.stat().st_uid, taken.stat().st_gid) == (os.geteuid(), os.getegid())
    assert taken.stat().st_mtime_ns == -987_654_321_987_654_321
    assert os.getxattr(taken, "user.big")
    assert "system.posix_acl_access" not in os.listxattr(taken)
    assert [line for line in result["notes"] if "/empty" in line and "posix_acl" in line and "--owner" in line]


def test_a_file_and_a_folder_go_by_their_names(guest: Staged, tmp_path: Path) -> None:
    finished(guest.get(tmp_path / "out", "/etc/hosts", "/srv/site1", "/srv/site1/deep"))
    assert (tmp_path / "out/hosts").read_text() == "127.0.0.1 localhost\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["hosts", "site1"]
    finished(guest.get(tmp_path / "whole", "/etc/hosts", "/srv/site1", parents=True))
    assert (tmp_path / "whole/etc/hosts").exists()
    assert (tmp_path / "whole/srv/site1/deep/er").is_dir()
    assert (tmp_path / "whole/etc").stat().st_mode & 0o777 == 0o755


def test_two_of_one_name_are_refused_before_anything_is_touched(guest: Staged, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--parents"):
        guest.get(tmp_path / "out", "/srv/site0/deep", "/srv/site1/deep")
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_named(guest: Staged, tmp_path: Path) -> None:
    engine = tasks.engine("backup-get")
    with pytest.raises(Exception, match="nothing-like-it"):
        engine.plan(convert(engine.params, guest.params(tmp_path / "out", "/nothing-like-it")), Cancel())
    with pytest.raises(BadParam):
        engine.plan(convert(engine.params, {**guest.params(tmp_path / "out"), "paths": ["/etc"]}), Cancel())


def test_a_link_that_is_asked_for_is_taken_itself_and_the_plan_says_so(guest: Staged, tmp_path: Path) -> None:
    engine = tasks.engine("backup-get")
    plan = engine.plan(convert(engine.params, guest.params(tmp_path / "out", "/link")), Cancel())
    assert any("/link is a link to /etc/shadow: the link is taken" in each for each in plan.warnings)
    finished(guest.get(tmp_path / "out", "/link"))
    assert (tmp_path / "out/link").readlink() == Path("/etc/shadow")


def divided(folder: Path) -> Path:
    """A GPT disk with two ext4 partitions, each with everything."""
    image = folder / "divided"
    image.write_bytes(b"")
    os.truncate(image, 140 * MIB)
    table = "label: gpt\nstart=2048, size=131072\nstart=133120, size=131072\n"  # in sectors
    subprocess.run(["sfdisk", "-q", str(image)], input=table.encode(), check=True)
    for start in (2048, 133120):
        part = guest_tree.ext4(folder / "part", guest_tree.everything)
        subprocess.run(
            ["dd", f"if={part}", f"of={image}", "bs=1M", f"seek={start // 2048}", "conv=notrunc,sparse", "status=none"],
            check=True,
        )
    return image


def test_each_volume_of_a_disk_is_a_folder_and_links_stay_within_it(guest: Staged, tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, divided(tmp_path))
    lab.done("backup-get", repo=repo, paths=[f"{point}:/"], dest=str(tmp_path / "out"), owner=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p1", "p2"]
    one, other = (guest_tree.told(tmp_path / "out" / name) for name in ("p1", "p2"))
    assert one[b"/etc/hosts"]["links"] == 3
    assert one.keys() == other.keys()
    lab.done("backup-get", repo=repo, paths=[f"{point}:/p2/etc/hosts", "/p1/srv"], dest=str(tmp_path / "some"))
    assert sorted(path.name for path in (tmp_path / "some").iterdir()) == ["hosts", "srv"]


# ── conflicts ───────────────────────────────────────────────────────────────────────────────────────


def occupied(folder: Path) -> Path:
    dest = folder / "out"
    (dest / "srv").mkdir(parents=True)
    (dest / "empty").write_text("mine")
    (dest / "srv/hosts-too").write_text("mine too")
    return dest


def test_conflicts_are_refused_by_count_and_name_and_nothing_is_touched(guest: Staged, tmp_path: Path) -> None:
    dest = occupied(tmp_path)
    with pytest.raises(Refused, match=r"2 files are in .* already: empty, srv/hosts-too") as refused:
        guest.get(dest)
    assert "--conflict" in refused.value.what_helps
    assert sorted(path.name for path in dest.rglob("*")) == ["empty", "hosts-too", "srv"]


def test_skip_overwrite_and_rename_do_what_they_say(guest: Staged, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    dest = occupied(tmp_path / "a")
    assert finished(guest.get(dest, conflict="skip"))["skipped"] == 2
    assert (dest / "empty").read_text() == "mine"
    assert (dest / "etc/hosts").exists()
    (tmp_path / "b").mkdir()
    dest = occupied(tmp_path / "b")
    finished(guest.get(dest, conflict="overwrite", owner=True))
    same(guest, dest, but=(b"/", b"/srv"))
    (tmp_path / "c").mkdir()
    dest = occupied(tmp_path / "c")
    finished(guest.get(dest, conflict="rename"))
    assert (dest / "empty").read_text() == "mine"
    stamp = guest.point.partition("@")[2]
    assert (dest / f"empty.from-{stamp}").read_bytes() == b""
    assert (dest / f"srv/hosts-too.from-{stamp}").read_text() == "127.0.0.1 localhost\n"


def test_overwriting_is_confirmed_with_the_folders_name_and_taking_is_not(guest: Staged, tmp_path: Path) -> None:
    engine = tasks.engine("backup-get")
    dest = occupied(tmp_path)
    plans = {
        conflict: engine.plan(convert(engine.params, guest.params(dest, conflict=conflict)), Cancel())
        for conflict in ("ask", "skip", "overwrite", "rename")
    }
    assert {conflict: plan.confirm for conflict, plan in plans.items()} == {
        "ask": "", "skip": "", "rename": "", "overwrite": dest.name
    }  # fmt: skip
    assert all(plan.choices[0].param == "conflict" for plan in plans.values())


def test_each_conflict_is_asked_about_and_all_answers_for_all(guest: Staged, tmp_path: Path) -> None:
    dest = occupied(tmp_path)
    heard = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Asked):
            heard.append(entry.event.question)
            child = os.fork()
            if not child:
                answers.send(entry_folder[0], "overwrite" if len(heard) == 1 else "keep both all")
                os._exit(0)
            children.append(child)

    children: list[int] = []
    engine = tasks.engine("backup-get")
    params = guest.params(dest, conflict="ask")
    run = runs.create(Job(task="backup-get", params=params), str(dest))
    entry_folder = [run.folder]
    last = perform(run, engine, listen=listen, answer_within=60.0, confirm=AGREED)
    for child in children:
        os.waitpid(child, 0)
    assert isinstance(last, Finished), last
    assert len(heard) == 2
    assert sum((dest / name).read_bytes().startswith(b"mine") for name in ("empty", "srv/hosts-too")) == 1
