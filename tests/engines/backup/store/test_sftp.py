"""A repository behind a real sshd: whole or not there, taken up after a cut line, never to a stranger."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engines.backup.store.local import LocalStore
from engines.backup.store.sftp import access, appender
from engines.backup.store.sftp.store import SftpStore, open_sftp
from engines.backup.store.store import Store
from engines.job.errors import Refused
from tests.engines.backup.store.sshd import Sshd

MIB = 1 << 20


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with Sshd(folder) as running:
        yield running


@pytest.fixture
def allowed(sshd: Sshd, tmp_path: Path) -> Path:
    """The folder of the repository, and an access to it written down."""
    entry = {"key_file": str(sshd.folder / "key"), "host_key": sshd.fingerprint, "patience": 20}
    path = access.access_file()
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({sshd.place: entry}))
    return tmp_path / "far" / "repo"


@pytest.fixture
def store(sshd: Sshd, allowed: Path) -> Iterator[SftpStore]:
    opened = open_sftp(sshd.url(allowed))
    yield opened
    opened.close()


def both(store: SftpStore, folder: Path) -> Iterator[Store]:
    yield LocalStore(folder)
    yield store


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_does_what_a_local_store_does(store: SftpStore, tmp_path: Path, allowed: Path) -> None:
    seen = []
    for one in both(store, tmp_path / "local"):
        one.put("config.json", b"{}", new=True)
        with pytest.raises(FileExistsError):
            one.put("config.json", b"[]", new=True)
        one.put("points/vm/disk0/a.point", b"x" * 3 * MIB)
        one.put("points/vm/disk0/a.point", b"y")
        growing = one.append("packs/s.part")
        growing.write([b"one", memoryview(b"two")])
        growing.abandon()
        taken_up = one.append("packs/s.part", keep=3)
        taken_up.write([b"three" * MIB])
        assert taken_up.offset == 3 + 5 * MIB
        taken_up.seal("packs/s.pack")
        one.rename("points/vm/disk0/a.point", "pruned/vm/disk0/a.point")
        one.put("gone/x", b"")
        one.delete("gone/x")
        with pytest.raises(FileNotFoundError):
            one.delete("gone/x")
        with pytest.raises(FileNotFoundError):
            one.read("gone/x")
        with pytest.raises(FileNotFoundError):
            one.size("gone/x")
        built = one.scratch("index/i.idx")
        built.write_bytes(b"index" * MIB)
        one.adopt(built, "index/i.idx")
        one.touch("config.json")
        seen.append(
            {
                "all": [sorted(one.names(folder)) for folder in ("packs", "points", "pruned", "index", "gone")],
                "any": any(True for _ in one.names(".")),
                "none": list(one.names("nowhere")),
                "part": one.read("packs/s.pack", 2, 4),
                "tail": one.read("packs/s.pack", 5 * MIB, 100),
                "whole": one.read("config.json"),
                "size": one.size("packs/s.pack"),
                "young": one.age("config.json") < 300,
                "mapped": hashlib.sha256(one.local("index/i.idx").read_bytes()).hexdigest(),
            }
        )
    assert seen[0] == seen[1]
    assert tree(tmp_path / "local") == tree(allowed)
    modes = {path.stat().st_mode & 0o777 for path in allowed.rglob("*") if path.is_file()}
    assert modes == {0o600}


def test_an_age_is_by_the_far_clock(store: SftpStore, allowed: Path) -> None:
    store.put("sessions/a.json", b"{}")
    os.utime(allowed / "sessions/a.json", (1, (allowed / "sessions/a.json").stat().st_mtime - 3600))
    assert 3590 < store.age("sessions/a.json") < 3900


def test_names_are_of_our_kind_only(store: SftpStore, allowed: Path) -> None:
    store.put("packs/a.pack", b"")
    for name in ("bad name", "naïve", ".tmp-0011", "semi;colon"):
        (allowed / "packs" / name).write_bytes(b"")
    (allowed / "packs" / "link").symlink_to("/etc/passwd")
    assert list(store.names("packs")) == ["packs/a.pack"]


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_transfer_whose_line_is_cut_is_taken_up_and_ends_byte_for_byte(
    sshd: Sshd, store: SftpStore, allowed: Path, cuts: int
) -> None:
    content = os.urandom(48 * MIB)
    growing = store.append("packs/s.part")
    at = {len(content) * number // (cuts + 1) // MIB for number in range(1, cuts + 1)}
    done = 0
    for offset in range(0, len(content), MIB):
        growing.write([content[offset : offset + MIB]])
        if offset // MIB in at:
            done += sshd.cut() > 0
            assert not (allowed / "packs/s.pack").exists()
    growing.seal("packs/s.pack")
    assert done == cuts
    assert (allowed / "packs/s.pack").read_bytes() == content
    assert not (allowed / "packs/s.part").exists()


def test_what_the_far_side_lost_while_the_line_was_down_fails_the_transfer(
    sshd: Sshd, store: SftpStore, allowed: Path
) -> None:
    growing = store.append("packs/s.part")
    for _ in range(3 * appender.WINDOW // MIB):
        growing.write([os.urandom(MIB)])
    sshd.cut()
    with (allowed / "packs/s.part").open("r+b") as stream:
        stream.write(bytes(4096))
    with pytest.raises(OSError, match="lost on the far side"):
        growing.seal("packs/s.pack")
    assert not (allowed / "packs/s.pack").exists()


def test_a_cut_at_any_moment_shows_a_file_whole_or_not_at_all(sshd: Sshd, store: SftpStore, allowed: Path) -> None:
    stop = threading.Event()

    def cutting() -> None:
        for pause in (0.05, 0.4, 0.2, 0.8, 0.3, 1.5, 0.6, 2.0):  # bounded: a busy machine needs time to come back
            if stop.wait(pause):
                return
            sshd.cut()

    cutter = threading.Thread(target=cutting)
    cutter.start()
    try:
        contents = {}
        for number in range(6):
            contents[f"points/p{number}"] = os.urandom(2 * MIB)
            store.put(f"points/p{number}", contents[f"points/p{number}"], new=True)
            seen = {name: data for name, data in tree(allowed).items() if ".tmp-" not in name}
            assert seen.items() <= contents.items()
    finally:
        stop.set()
        cutter.join()
    assert {name: store.read(name) for name in store.names("points")} == contents
    store.sweep(older=-10.0)
    assert tree(allowed) == contents


def test_a_far_machine_that_stays_away_is_an_error_that_names_it(sshd: Sshd, allowed: Path) -> None:
    access.access_file().write_text(access.access_file().read_text().replace("patience: 20", "patience: 1"))
    store = open_sftp(sshd.url(allowed))
    store.put("a", b"a")
    sshd.stop()
    with pytest.raises(OSError, match=f"127.0.0.1:{sshd.port} broke"):
        store.read("a")
    sshd.start()


def test_a_stranger_is_refused_with_the_fingerprint_to_compare(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        open_sftp(sshd.url(tmp_path / "repo"))
    assert sshd.fingerprint in refused.value.why
    assert sshd.fingerprint in refused.value.what_helps
    assert not (tmp_path / "repo").exists()


def test_another_host_key_than_the_pinned_one_is_refused_and_also_when_it_changes_later(
    sshd: Sshd, store: SftpStore, allowed: Path
) -> None:
    store.put("a", b"a")
    sshd.stop()
    sshd.new_key("host_key")
    sshd.start()
    with pytest.raises(OSError, match="another host key"):
        store.read("a")
    with pytest.raises(Refused, match="another host key"):
        open_sftp(sshd.url(allowed))


def test_a_known_hosts_file_is_enough(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    key = (sshd.folder / "host_key.pub").read_text()
    (tmp_path / "home/.ssh/known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key}")
    (tmp_path / "home/.ssh/id_ed25519").write_bytes((sshd.folder / "key").read_bytes())
    (tmp_path / "home/.ssh/id_ed25519").chmod(0o600)
    store = open_sftp(sshd.url(tmp_path / "far"))
    store.put("a", b"a")
    store.close()
    assert (tmp_path / "far/a").read_bytes() == b"a"


def test_a_key_that_is_not_let_in_is_refused(sshd: Sshd, allowed: Path) -> None:
    sshd.new_key("key")
    with pytest.raises(Refused, match="does not let us in"):
        open_sftp(sshd.url(allowed))


@pytest.mark.parametrize(
    "where", ["sftp://root:pw@host/x", "sftp://host", "sftp://ho st/x", "sftp://a@b@c/x", "sftp://host:99999/x"]
)
def test_an_address_that_is_none_is_refused_and_a_password_in_it_is_not_repeated(where: str) -> None:
    with pytest.raises(Refused) as refused:
        access.parse(where)
    assert "pw" not in str(refused.value)


def test_a_password_is_read_from_a_file_of_mode_0600_only_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    address = access.parse("sftp://me@host/x")
    access.access_file().parent.mkdir(parents=True)
    access.access_file().write_text(yaml.safe_dump({"me@host": {"password_file": str(secret)}}))
    with pytest.raises(Refused, match="others can read"):
        access.load(address)
    secret.chmod(0o600)
    found = access.load(address)
    assert found.password is not None and found.password.reveal() == "hunter2"
    assert "hunter2" not in repr(found)
