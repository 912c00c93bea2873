"""Files come out of a point as they were, whole or not at all, and nothing gets out of the destination."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines import tasks
from engines.backup.browse import getting
from engines.backup.browse.model import Node
from engines.backup.browse.selection import Walk
from engines.backup.browse.staging import PREFIX
from engines.backup.browse.tree import Tree
from engines.job import answers, runs
from engines.job.contract import Asked, Cancel, Finished, RunFailed, RunStopped, StepStarted
from engines.job.errors import BadParam, Refused
from engines.job.jobfile import Job
from engines.job.journal import Entry, entries
from engines.job.params import convert
from engines.job.perform import Stop, perform
from tests.engines.backup import lab
from tests.engines.backup.browse import guest_tree
from tests.engines.backup.browse.folder_volume import FolderVolume
from tests.engines.backup.lab import MIB

LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Staged:
    """An image, and the point that was made of it."""

    def __init__(self, folder: Path, fill: Callable[[Path], object], **how: Any) -> None:
        self.image = guest_tree.ext4(folder / "image", fill, **how)
        self.repo = lab.init(folder / "repo")
        self.point = lab.backup(self.repo, self.image)

    @cached_property
    def told(self) -> dict[bytes, dict[str, Any]]:
        """What the kernel finds in it."""
        with guest_tree.mounted(self.image) as root:
            return guest_tree.told(root)

    def get(self, dest: Path, *paths: str, **params: Any) -> tuple[runs.Run, Any]:
        """A run of get, to its last word."""
        return lab.perform_job("backup-get", **self.params(dest, *paths, **params))

    def params(self, dest: Path, *paths: str, **params: Any) -> dict[str, Any]:
        named = [f"{self.point}:{path}" for path in paths or ("/",)]
        return {"repo": self.repo, "paths": named, "dest": str(dest), **params}


def in_state(folder: Path) -> Callable[[], None]:
    """Have runs write there while a module's fixture is made."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")

    def back() -> None:
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before

    return back


@contextmanager
def staged(folder: Path, fill: Callable[[Path], object], **how: Any) -> Iterator[Staged]:
    back = in_state(folder)
    try:
        yield Staged(folder, fill, **how)
    finally:
        back()


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    with staged(tmp_path_factory.mktemp("guest"), guest_tree.everything) as found:
        yield found


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    with staged(tmp_path_factory.mktemp("evil"), guest_tree.hostile) as found:
        yield found


def finished(found: tuple[runs.Run, Any]) -> dict[str, Any]:
    assert isinstance(found[1], Finished), found[1]
    return found[1].result


def same(guest: Staged, dest: Path, *, but: tuple[bytes, ...] = ()) -> None:
    """What is in `dest` is what the kernel finds in the image."""
    wanted, got = guest.told, guest_tree.told(dest)
    assert got.keys() == wanted.keys()
    for path in wanted.keys() - set(but):
        assert got[path] == wanted[path], path


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


# ── hostile guests ──────────────────────────────────────────────────────────────────────────────────


def test_nothing_of_a_hostile_guest_is_raised_or_special_unless_asked(evil: Staged, tmp_path: Path) -> None:
    before = time.monotonic()
    result = finished(evil.get(tmp_path / "out", owner=True))
    assert time.monotonic() - before < 60  # a 10 TiB hole is neither read nor written
    out = tmp_path / "out"
    for path in [out, *out.rglob("*")]:
        found = path.lstat()
        assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert stat.S_IFMT(found.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), path
        assert path.is_symlink() or "security.capability" not in os.listxattr(path)
    assert (out / "huge").stat().st_size == 10 * 1024**4
    assert (out / "huge").stat().st_blocks * 512 < MIB
    assert (out / "farm/499").stat().st_nlink == 500
    assert (out / "evil").readlink() == Path("/tmp")
    for name in ("null", "loop", "pipe", "sock", "su", "sg", "shared", "cap"):
        assert any(line.startswith(f"/{name} ") for line in result["notes"]), name


def test_what_is_asked_for_comes_as_it_was(evil: Staged, tmp_path: Path) -> None:
    finished(evil.get(tmp_path / "out", owner=True, special=True))
    same(evil, tmp_path / "out")


def test_a_link_in_the_destination_leads_nowhere(evil: Staged, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "farm").symlink_to(outside)
    (out / "README").symlink_to(outside / "README")
    (out / os.fsdecode(guest_tree.LONG)).symlink_to(outside / "long")
    finished(evil.get(out, conflict="overwrite"))
    assert list(outside.iterdir()) == []
    assert (out / "farm").is_dir()
    assert not (out / "farm").is_symlink()
    assert (out / "README").read_text() == "upper"


def patched(image: Path, before: bytes, after: bytes) -> None:
    """Rename in the raw image, as no kernel would."""
    raw = image.read_bytes()
    assert before in raw
    image.write_bytes(raw.replace(before, after))


def test_names_that_no_file_can_have_stay_within_the_destination(tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        (root / "QQ-evil1").write_text("out")
        (root / "abs-evil").write_text("out")
        (root / "folder").mkdir()
        (root / "folder/ZZZZ").write_text("out")
        (root / "good").write_text("good")

    image = guest_tree.ext4(tmp_path / "image", fill, options=("-O", "^metadata_csum"))
    patched(image, b"QQ-evil1", b"../evil1")
    patched(image, b"abs-evil", b"/abs-evi")
    patched(image, b"\4\1ZZZZ", b"\2\1..ZZ")  # name_len, file_type, name of an ext4 directory entry
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, image)
    out = tmp_path / "deep/er/out"
    out.parent.mkdir(parents=True)
    result = lab.done("backup-get", repo=repo, paths=[f"{point}:/"], dest=str(out))
    assert (out / "good").read_text() == "good"
    assert sorted(path.name for path in out.rglob("*")) == ["folder", "good", "lost+found"]
    assert [path for path in tmp_path.rglob("*evi*")] == []
    assert result["files"] == 1


class Hostile(FolderVolume):
    """A driver that passes on whatever names a broken file system has."""

    def list(self, path: bytes) -> Iterator[Node]:
        for node in super().list(path):
            yield node
            if node.is_file:
                yield from (
                    msgspec.structs.replace(node, name=name) for name in (b"..", b"../out", b"/abs", b"", b"a\0b")
                )


def test_a_driver_that_gives_impossible_names_is_not_believed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good").write_text("good")
    tree = Tree((Hostile(source).info,), lambda info: Hostile(source))
    told: list[str] = []
    walk = Walk(tree, {b"/": b""}, lambda path, what: told.append(what))
    assert [entry.place for entry in walk.entries()] == [b"", b"good"]
    assert len(told) == 5


def test_two_names_that_the_destination_takes_for_one_do_not_cost_a_file(evil: Staged, tmp_path: Path) -> None:
    with caseless(tmp_path) as dest:
        result = finished(evil.get(dest, "/README", "/readme"))
        assert (dest / "README").read_text() in ("upper", "lower")
        assert len(list(dest.iterdir())) == 1
        assert result["files"] == 1
        assert any("takes its name for that of another" in line for line in result["notes"])
        finished(evil.get(dest / "both", "/README", "/readme", conflict="rename"))
        assert sorted(path.read_text() for path in (dest / "both").iterdir()) == ["lower", "upper"]


def test_a_destination_that_cannot_hold_a_name_or_an_attribute_says_which(tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        (root / "what:ever").write_text("colon")
        (root / "good").write_text("good")

    with staged(tmp_path, fill) as guest, caseless(tmp_path) as dest:
        result = finished(guest.get(dest / "out"))
        assert (dest / "out/good").read_text() == "good"
        assert any(line.startswith("/what:ever cannot be") for line in result["notes"]), result["notes"]


@contextmanager
def caseless(folder: Path) -> Iterator[Path]:
    """An NTFS volume as Windows sees it: no case, no colons."""
    image, place = folder / "ntfs.img", folder / "ntfs"
    image.write_bytes(b"")
    os.truncate(image, 32 * MIB)
    place.mkdir()
    subprocess.run(["mkntfs", "-F", "-Q", "-q", str(image)], check=True, capture_output=True)
    subprocess.run(["lowntfs-3g", "-o", "ignore_case,windows_names", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


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
        "ask": "", "skip": "", "rename": "", "overwrite": str(dest)
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
    last = perform(run, engine, listen=listen, answer_within=60.0)
    for child in children:
        os.waitpid(child, 0)
    assert isinstance(last, Finished), last
    assert len(heard) == 2
    assert sum((dest / name).read_bytes().startswith(b"mine") for name in ("empty", "srv/hosts-too")) == 1


# ── kills, stops, full disks ────────────────────────────────────────────────────────────────────────


def many(root: Path) -> None:
    rng = random.Random(11)
    for at in range(1500):
        folder = root / f"f{at % 30}"
        folder.mkdir(exist_ok=True)
        (folder / str(at)).write_bytes(rng.randbytes(rng.randrange(6_000)))
    for at in range(3):
        (root / f"big{at}").write_bytes(rng.randbytes(6 * MIB))
    for at in range(100):
        os.link(root / f"f0/{at * 30 % 1500 // 30 * 30}", root / f"f1/link{at}")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    with staged(tmp_path_factory.mktemp("crowd"), many) as found:
        yield found


def whole(guest: Staged, dest: Path) -> int:
    """How many files are there, each of them whole; what is under a temporary name counts for nothing."""
    wanted, count = guest.told, 0
    for path, found in guest_tree.told(dest).items() if dest.exists() else ():
        if stat.S_ISREG(int(found["mode"], 8)) and PREFIX not in path:
            assert found["content"] == wanted[path]["content"], path
            assert found["mode"] == wanted[path]["mode"]
            count += 1
    return count


def killed_while_writing(run: runs.Run, dest: Path, seconds: float) -> bool:
    """Whether the run was killed before its end, that long after it began to write."""
    child = os.fork()
    if not child:
        perform(run, tasks.engine("backup-get"))
        os._exit(0)
    while not list(dest.glob(os.fsdecode(PREFIX) + "*")) and os.waitid(os.P_PID, child, LOOK) is None:
        time.sleep(0.005)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def campaign(crowd: Staged, dest: Path, kills: int) -> None:
    """Kill one get again and again, resume it, and look each time at what is there."""
    rng = random.Random(os.urandom(4))
    params = crowd.params(dest, owner=True)
    first, count, span = runs.create(Job(task="backup-get", params=params), str(dest)), 0, 2.0
    run = first
    while kills:
        if killed_while_writing(run, dest, rng.uniform(0, span)):
            kills -= 1
        else:  # it was quicker than that: once more from the beginning
            span /= 2
            shutil.rmtree(dest)
            first, count = runs.create(Job(task="backup-get", params=params), str(dest)), 0
            run = first
            continue
        count, before = whole(crowd, dest), count
        assert count >= before
        run = runs.create(Job(task="backup-get", params=params), str(dest), mode="resume", earlier=first.id)
    last = perform(run, tasks.engine("backup-get"))
    assert isinstance(last, Finished), last
    same(crowd, dest)


def test_kills_at_random_moments_leave_whole_files_and_resume_ends_the_same(crowd: Staged, tmp_path: Path) -> None:
    campaign(crowd, tmp_path / "out", kills=4)


@pytest.mark.soak
def test_sixty_kills_leave_whole_files_and_resume_ends_the_same(crowd: Staged, tmp_path: Path) -> None:
    for nth in range(6):
        campaign(crowd, tmp_path / f"out{nth}", kills=10)


def test_a_stop_says_what_is_there_and_undo_removes_it(crowd: Staged, tmp_path: Path) -> None:
    stop = Stop()
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "mine").write_text("stays")

    def listen(entry: Entry) -> None:
        if any(dest.glob("f*/*")):
            stop.ask()

    params = crowd.params(dest)
    run, last = lab.perform_job("backup-get", stop=stop, listen=listen, **params)
    assert isinstance(last, RunStopped), last
    count = len([*dest.glob("f*/*"), *dest.glob("big*")])
    assert last.left_behind[0].startswith(f"{count} files are in")
    assert (run.folder / getting.KEPT_AS).read_bytes().count(b"\n") >= count
    undone = runs.create(run.job(), str(dest), mode="undo", earlier=run.id)
    assert isinstance(perform(undone, tasks.engine("backup-get")), Finished)
    assert [path.name for path in dest.iterdir()] == ["mine"]


def test_undo_leaves_what_was_changed_since(guest: Staged, tmp_path: Path) -> None:
    run, last = guest.get(tmp_path / "out", "/etc", "/empty")
    assert isinstance(last, Finished)
    (tmp_path / "out/etc/hosts").write_text("edited")
    undone = runs.create(run.job(), "", mode="undo", earlier=run.id)
    assert isinstance(perform(undone, tasks.engine("backup-get")), Finished)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["etc", "hosts"]


def test_a_full_disk_names_what_was_taken_and_resume_goes_on(crowd: Staged, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "crashcart-test", str(place)], check=True)
    try:
        run, last = crowd.get(place / "out", owner=True)
        assert isinstance(last, RunFailed), last
        assert "full" in last.why
        assert "files are in" in last.left_behind[0]
        listed = run.folder / getting.KEPT_AS
        assert str(listed) in last.left_behind[1]
        assert listed.read_bytes().count(b"file\t") == whole(crowd, place / "out") > 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        resumed = runs.create(run.job(), "", mode="resume", earlier=run.id)
        assert isinstance(perform(resumed, tasks.engine("backup-get")), Finished)
        same(crowd, place / "out")
    finally:
        subprocess.run(["umount", str(place)], check=True)


# ── archives ────────────────────────────────────────────────────────────────────────────────────────


def test_a_tar_gives_the_same_tree_back(evil: Staged, guest: Staged, tmp_path: Path) -> None:
    for name, source in (("guest", guest), ("evil", evil)):
        finished(source.get(tmp_path / f"{name}.tar", tar=True, special=True))
        out = tmp_path / name
        out.mkdir()
        subprocess.run(
            [
                "tar",
                "--numeric-owner",
                "--xattrs",
                "--xattrs-include=*",
                "--acls",
                "-xpf",
                f"{out}.tar",
                "-C",
                str(out),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        wanted = {path: found for path, found in source.told.items() if path != b"/sock"}  # no archive holds a socket
        got = guest_tree.told(out)
        assert got.keys() == wanted.keys()
        for path in wanted:
            assert got[path] | {"data": 0, "content": 0} == wanted[path] | {"data": 0, "content": 0}, path
            assert (got[path]["content"] == wanted[path]["content"]) or path == b"/holes", path
        assert Path(f"{out}.tar").stat().st_size < 4 * MIB
    with tarfile.open(tmp_path / "guest.tar") as archive:
        holes = archive.extractfile("holes")
        assert holes is not None
        with guest_tree.mounted(guest.image) as root:
            assert holes.read() == (root / "holes").read_bytes()


def test_a_tar_to_stdout_holds_nothing_but_the_archive(guest: Staged, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "engines.cli",
        "backup",
        "get",
        "--repo",
        guest.repo,
        "--tar",
        f"{guest.point}:/etc",
        "/empty",
        "-",
    ]
    found = subprocess.run(words, capture_output=True, check=False)
    assert found.returncode in (0, 4), found.stderr
    (tmp_path / "t.tar").write_bytes(found.stdout)
    assert len(found.stdout) % 512 == 0
    with tarfile.open(tmp_path / "t.tar") as archive:
        assert sorted(archive.getnames()) == ["empty", "etc", "etc/hosts"]
    assert b"report" in found.stderr


def test_an_archive_appears_whole_or_not_at_all(crowd: Staged, tmp_path: Path) -> None:
    stop = Stop()
    params = crowd.params(tmp_path / "t.tar", tar=True)

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == "write":
            stop.ask()

    _, last = lab.perform_job("backup-get", stop=stop, listen=listen, **params)
    assert isinstance(last, RunStopped)
    assert not last.left_behind
    assert list(tmp_path.glob("*t.tar*")) == []
    (tmp_path / "t.tar").write_text("an older one")
    with pytest.raises(Refused):
        lab.perform_job("backup-get", **params)
    run, last = lab.perform_job("backup-get", **params, conflict="overwrite")
    assert isinstance(last, Finished)
    assert run.plan() is not None
    assert tarfile.is_tarfile(tmp_path / "t.tar")


def test_progress_reaches_its_total(crowd: Staged, tmp_path: Path) -> None:
    run, last = crowd.get(tmp_path / "out")
    assert isinstance(last, Finished)
    told = [entry.event for entry in entries(run.journal)]
    progress = [event for event in told if type(event).__name__ == "Progress"]
    assert progress[-1].done == progress[-1].total > 18 * MIB  # type: ignore[union-attr]
