"""What every store does alike: a folder, a far folder behind a real sshd, a bucket of a real S3 server."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from engines import tasks
from engines.backup.repository.repository import Repository
from engines.backup.store.opening import open_store
from engines.backup.store.sftp import access
from engines.backup.store.store import Store
from engines.job.params import convert
from tests.engines.backup import lab
from tests.engines.backup.store.sshd import Sshd

MIB = 1 << 20
KINDS = ("local", "sftp", "s3")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a place where nothing is yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "local":
        return str(tmp_path / "repo")
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('bucket')}/some/prefix"
    sshd: Sshd = request.getfixturevalue("sshd")
    path = access.access_file()
    path.parent.mkdir(parents=True)
    entry = {"key_file": str(sshd.folder / "key"), "host_key": sshd.fingerprint, "patience": 20}
    path.write_text(yaml.safe_dump({sshd.place: entry}))
    return sshd.url(tmp_path / "far" / "repo")


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    opened = open_store(where)
    yield opened
    opened.close()


def test_nothing_is_there_before_anything_is_written(store: Store) -> None:
    assert not any(True for _ in store.names("."))
    assert list(store.names("nowhere")) == []
    for call in (store.read, store.size, store.age, store.delete):
        with pytest.raises(FileNotFoundError):
            call("points/none")
    with pytest.raises(FileNotFoundError):
        store.rename("points/none", "pruned/none")
    with pytest.raises(FileNotFoundError):
        store.read("points/none", 5, 5)


def test_a_name_is_taken_once_and_replaced_where_that_is_asked_for(store: Store) -> None:
    store.put("config.json", b"one", new=True)
    for content in (b"one", b"two"):  # the same content is no less another's
        with pytest.raises(FileExistsError):
            store.put("config.json", content, new=True)
    store.put("config.json", b"three")
    assert store.read("config.json") == b"three"
    store.put("config.json", b"", durable=False)
    assert store.read("config.json") == b"" and store.size("config.json") == 0


def test_of_many_who_create_one_name_exactly_one_does(store: Store) -> None:
    gate = threading.Barrier(6)

    def create(number: int) -> int:
        gate.wait()
        try:
            store.put("points/one", f"writer {number}".encode(), new=True)
        except FileExistsError:
            return -1
        return number

    with ThreadPoolExecutor(6) as racing:
        won = [number for number in racing.map(create, range(6)) if number >= 0]
    assert len(won) == 1
    assert store.read("points/one") == f"writer {won[0]}".encode()


def test_a_place_has_one_name_however_it_is_written(where: str) -> None:
    """By it runs of one repository are kept apart, such as two changes of its keys."""
    gc = tasks.engine("backup-gc")
    written = (where, f"{where}/", *([where.replace(":22/", "/")] if ":22/" in where else []))
    assert len({gc.target(convert(gc.params, {"repo": one})) for one in written}) == 1
    lab.done("backup-init", repo=f"{where}/")
    with Repository.glance(f"{where}/") as glance:
        assert glance.store.where == where


def test_what_is_exchanged_is_what_was_there(store: Store, where: str) -> None:
    """In a bucket exactly one of those that change it at once does; elsewhere another may come between."""
    store.put("config.json", b"one")
    store.exchange("config.json", b"one", b"two, and longer")
    for wrong in (b"one", b"two", b""):
        with pytest.raises(FileExistsError):
            store.exchange("config.json", wrong, b"three")
    with pytest.raises(FileNotFoundError):
        store.exchange("config", b"", b"three")
    assert store.read("config.json") == b"two, and longer"
    if not where.startswith("s3://"):
        return
    gate = threading.Barrier(6)

    def change(number: int) -> bool:
        gate.wait()
        try:
            store.exchange("config.json", b"two, and longer", f"writer {number}".encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(6) as racing:
        won = [number for number, has_won in enumerate(racing.map(change, range(6))) if has_won]
    assert [store.read("config.json")] == [f"writer {number}".encode() for number in won]


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 4), (3, 4), (9, 1), (8, 10), (10, 1), (11, 5), (0, 0), (4, 0), (0, -1), (4, -1), (50, -1)],
)
def test_parts_are_read_as_they_are_and_fewer_only_at_the_end(store: Store, offset: int, length: int) -> None:
    store.put("packs/a.pack", b"0123456789")
    expected = b"0123456789"[offset:] if length < 0 else b"0123456789"[offset : offset + length]
    assert store.read("packs/a.pack", offset, length) == expected
    if length > 0:
        assert bytes(store.read_once("packs/a.pack", offset, length)) == expected


def test_a_growing_file_is_seen_whole_and_only_once_it_is_sealed(store: Store) -> None:
    session, pack = os.urandom(16).hex(), os.urandom(16).hex()
    content = os.urandom(21 * MIB + 17)
    growing = store.append(f"packs/{session}.{pack}.part")
    for at in range(0, len(content), MIB):
        growing.write([content[at : at + 100], memoryview(content)[at + 100 : at + MIB]])
        assert growing.offset == min(at + MIB, len(content))
        growing.push()
    assert f"packs/{pack}.pack" not in list(store.names("packs"))
    growing.seal(f"packs/{pack}.pack")
    assert list(store.names("packs")) == [f"packs/{pack}.pack"]
    assert store.size(f"packs/{pack}.pack") == len(content)
    assert store.read(f"packs/{pack}.pack") == content
    assert store.read(f"packs/{pack}.pack", 8 * MIB - 5, 10) == content[8 * MIB - 5 : 8 * MIB + 5]


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1])
def test_a_growing_file_of_any_length_may_be_sealed_under_any_name(store: Store, size: int) -> None:
    content = os.urandom(size)
    growing = store.append("index/made")
    growing.write([content])
    growing.seal("index/known")
    assert store.read("index/known") == content
    assert list(store.names("index")) == ["index/known"]


def test_what_is_abandoned_is_never_taken_for_a_pack(store: Store) -> None:
    growing = store.append("packs/s.p.part")
    growing.write([b"x" * 9 * MIB])
    growing.abandon()
    assert not [name for name in store.names("packs") if name.endswith(".pack")]


def test_names_are_full_and_only_of_the_folder_that_was_asked_for(store: Store) -> None:
    for name in ("points/vm/disk0/a.point", "points/vm/disk0/b.point", "points/vm-2/disk0/a.point", "pointsmore/x"):
        store.put(name, b"x")
    assert sorted(store.names("points/vm")) == ["points/vm/disk0/a.point", "points/vm/disk0/b.point"]
    assert len(list(store.names("points"))) == 3
    assert list(store.names("points/v")) == []
    assert any(True for _ in store.names("."))


def test_more_names_than_one_page_holds_are_all_listed(store: Store, where: str) -> None:
    wanted = {f"sessions/{number:04}" for number in range(1203 if "://" in where else 30)}
    with ThreadPoolExecutor(16) as writing:
        list(writing.map(lambda name: store.put(name, b"", durable=False), wanted))
    assert set(store.names("sessions")) == wanted


def test_a_rename_replaces_and_leaves_nothing_behind(store: Store) -> None:
    store.put("points/vm/d/a.point", b"new")
    store.put("pruned/vm/d/a.point", b"old")
    store.rename("points/vm/d/a.point", "pruned/vm/d/a.point")
    assert store.read("pruned/vm/d/a.point") == b"new"
    assert list(store.names("points")) == []


def test_a_deleted_file_is_gone_and_its_name_free(store: Store) -> None:
    store.put("packs/a.pack", b"12345")
    assert store.size("packs/a.pack") == 5
    store.delete("packs/a.pack")
    with pytest.raises(FileNotFoundError):
        store.size("packs/a.pack")
    with pytest.raises(FileNotFoundError):
        store.delete("packs/a.pack")
    store.put("packs/a.pack", b"1", new=True)
    assert store.size("packs/a.pack") == 1


def test_what_is_missing_is_asked_anew(store: Store, where: str) -> None:
    names = [f"packs/{number}.pack" for number in range(5)]
    for name in names[:3]:
        store.put(name, b"x")
    assert set(store.names("packs")) == set(names[:3])
    other = open_store(where)
    other.delete(names[0])
    other.close()
    assert store.missing(names) == {names[0], *names[3:]}


def test_an_age_is_of_the_last_writing_or_touching(store: Store) -> None:
    store.put("sessions/a.json", b"{}")
    assert store.age("sessions/a.json") < 300
    store.touch("sessions/a.json")
    assert store.age("sessions/a.json") < 300
    assert store.read("sessions/a.json") == b"{}"


def test_what_is_built_here_is_adopted_and_mapped_again(store: Store, where: str) -> None:
    content = os.urandom(20 * MIB + 3)
    built = store.scratch("index/i.idx")
    built.write_bytes(content)
    store.adopt(built, "index/i.idx")
    assert not built.exists()
    assert list(store.names("index")) == ["index/i.idx"]
    again = open_store(where)
    for one in (store, again):
        assert hashlib.sha256(one.local("index/i.idx").read_bytes()).digest() == hashlib.sha256(content).digest()
    again.close()


def test_a_large_file_is_put_whole(store: Store) -> None:
    content = os.urandom(40 * MIB)
    store.put("index/large.idx", content)
    assert store.read("index/large.idx") == content


def test_a_whole_place_lacks_nothing_and_trying_that_leaves_nothing(store: Store) -> None:
    store.put("config.json", b"{}")
    assert store.lacks() == []
    assert list(store.names(".")) in (["config.json"], ["./config.json"])


def test_threads_may_share_it(store: Store) -> None:
    content = os.urandom(4 * MIB)
    store.put("packs/a.pack", content)
    offsets = [number * 12345 % (3 * MIB) for number in range(64)]
    with ThreadPoolExecutor(8) as reading:
        parts = list(reading.map(lambda at: bytes(store.read("packs/a.pack", at, 100_000)), offsets))
    assert parts == [content[at : at + 100_000] for at in offsets]


def test_temporary_files_are_no_names_and_are_swept_when_they_are_old(store: Store) -> None:
    store.put("config.json", b"{}")
    growing = store.append("index/left")
    growing.write([b"x"])
    growing.abandon()
    store.sweep()
    assert store.read("config.json") == b"{}"
    assert not [name for name in store.names(".") if ".tmp-" in name]
