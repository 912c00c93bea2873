"""The whole engine over a real S3 server, and what a bucket's refusals say."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.backup.errors import FarFailed
from engines.backup.repository import config
from engines.backup.store.s3 import access
from engines.backup.store.s3.store import S3Store, open_s3
from engines.backup.upkeep.newest import newest
from engines.job import runs
from engines.job.contract import Finished, Progress, RunFailed
from engines.job.errors import BadParam, Refused
from engines.job.journal import Entry
from tests.engines.backup import lab
from tests.engines.backup.store.weed import KEY, SECRET, Weed

MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture
def store(bucket: str) -> S3Store:
    return open_s3(f"s3://{bucket}/r")


def restored(repo: str, point: str, target: Path) -> bytes:
    lab.done("backup-restore", point=point, target=str(target), repo=repo)
    return target.read_bytes()


def test_backup_change_incremental_restore_verify_prune_gc_and_undo(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/servers/ams"
    made = lab.done("backup-init", repo=repo)
    assert config.load(open_s3(repo)).pack == 64 * MIB and made["repo"] == repo
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2, 40: 3}, SIZE)
    before = source.read_bytes()
    first = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    lab.disk(source, {0: 1, 7: 9, 40: 3}, SIZE)
    second = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    assert second["changed"] == MIB
    assert restored(repo, first["point"], tmp_path / "one") == before
    assert restored(repo, second["point"], tmp_path / "two") == source.read_bytes()
    lab.done("backup-verify", repo=repo)
    pruned, _ = lab.perform_job("backup-prune", repo=repo, keep_last=1)
    lab.perform_job("backup-prune", mode="undo", earlier=pruned.id, repo=repo, keep_last=1)
    assert restored(repo, first["point"], tmp_path / "again") == before
    lab.done("backup-prune", repo=repo, keep_last=1)
    lab.done("backup-gc", repo=repo)
    assert restored(repo, "web/disk0@latest", tmp_path / "three") == source.read_bytes()
    assert not list(open_s3(repo).names("pruned"))
    assert not list(open_s3(repo).bucket.listed("temporary"))


def test_a_newest_point_whose_packs_are_gone_or_emptied_in_a_bucket_is_in_trouble(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2}, 8 * MIB)
    lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    store = open_s3(repo)
    pack = max(store.sizes("packs"), key=lambda one: one[1])[0]
    whole = bytes(store.read(pack))

    def trouble() -> str:
        with lab.opened(repo) as repository:
            (one,) = newest(repository)
        assert bool(one.trouble) == (one.good is None)
        return one.trouble

    assert not trouble()
    for left in (whole[:-1], whole[: MIB // 2], b""):
        store.put(pack, left)
        assert trouble(), len(left)
    store.delete(pack)
    assert trouble()
    store.put(pack, whole)
    assert not trouble()


def test_a_job_and_its_report_name_no_key(bucket: str, tmp_path: Path) -> None:
    repo = f"s3://{bucket}/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {0: 1}, 4 * MIB)
    lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    for run in runs.every():
        for path in run.folder.rglob("*"):
            assert not path.is_file() or (
                SECRET.encode() not in path.read_bytes() and KEY.encode() not in path.read_bytes()
            )


# ── the server goes away ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own_weed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weed]:
    """A server that a test may kill."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "weed"
    folder.mkdir()
    with Weed(folder) as running:
        running.bucket("vault")
        yield running


def test_a_server_that_is_killed_and_comes_back_costs_nothing_but_time(own_weed: Weed, tmp_path: Path) -> None:
    own_weed.allow("vault", patience=300)
    repo = "s3://vault/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(64)}, SIZE)

    gone = threading.Event()

    def leave(entry: Entry) -> None:
        if isinstance(entry.event, Progress) and not gone.is_set():
            own_weed.stop()
            gone.set()

    with ThreadPoolExecutor(1) as running:
        backup = running.submit(
            lab.perform_job, "backup", source=str(source), repo=repo, vm="web", limit="24M", listen=leave
        )
        assert gone.wait(300)
        own_weed.start()  # in the thread that lives on: the server dies with the one that started it
        _, last = backup.result()
    assert isinstance(last, Finished), last
    made = last.result
    assert restored(repo, made["point"], tmp_path / "back") == source.read_bytes()


def test_a_server_that_goes_away_in_mid_run_shows_no_point_and_the_next_run_is_whole(
    own_weed: Weed, tmp_path: Path
) -> None:
    own_weed.allow("vault", patience=2)
    repo = "s3://vault/r"
    lab.done("backup-init", repo=repo)
    source = lab.disk(tmp_path / "disk", {number: number + 1 for number in range(64)}, SIZE)
    gone = threading.Event()

    def leave(entry: Entry) -> None:
        if isinstance(entry.event, Progress) and not gone.is_set():
            gone.set()
            own_weed.stop()

    _, last = lab.perform_job("backup", source=str(source), repo=repo, vm="web", limit="16M", listen=leave)
    assert gone.is_set()
    assert isinstance(last, RunFailed), last
    assert "bucket vault" in last.why and "fault of crashcart" not in last.what_helps
    with pytest.raises(Refused, match=f"bucket vault at 127.0.0.1:{own_weed.port} was not reached"):
        lab.perform_job("backup", source=str(source), repo=repo, vm="web", limit="none")
    own_weed.start()
    own_weed.allow("vault", patience=120)
    assert not list(open_s3(repo).names("points"))
    made = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    assert restored(repo, made["point"], tmp_path / "back") == source.read_bytes()


# ── the access ──────────────────────────────────────────────────────────────────────────────────────


def key(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "keys"
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    "where",
    [
        "s3://",
        "s3://B/x",
        "s3://key:secret@vault/x",
        "s3://vault//x",
        "s3://vault/../x",
        "s3://vault/a b",
        "s3://v/x",
        "s3://vault/a+b",
        "s3://vault/a%20b",
        "s3://vault/kunden/münchen",
        "s3://vault/%2e%2e/x",
        "s3://vault/a?b",
        "s3://vault/a#b",
        "s3://vault/a\nb",
        "s3://vault/\u202egnp",
        "s3://vault/a\\b",
    ],
)
def test_an_address_that_is_none_is_refused_and_a_key_in_it_is_not_repeated(where: str) -> None:
    with pytest.raises(BadParam) as refused:
        access.parse(where)
    assert "secret" not in str(refused.value)


def write(entry: dict[str, Any]) -> None:
    path = access.access_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"vault": entry}))


def test_an_access_that_cannot_be_used_is_refused_with_what_to_write(tmp_path: Path) -> None:
    address = access.parse("s3://vault/x")
    with pytest.raises(Refused, match="nothing says how bucket vault"):
        access.load(address)
    good = {"endpoint": "https://s3.example.net", "key_file": key(tmp_path, KEY, SECRET)}
    write(good)
    assert access.load(address).region == "us-east-1"
    for wrong, said in {
        "endpoint": ("ftp://x", "has endpoint"),
        "patience": ("soon", "has patience"),
        "ca_file": ("/nowhere", "does not exist"),
        "key_file": ("", "names no key_file"),
        "path_style": ("maybe", "has path_style"),
        "colour": ("red", "not understood"),
    }.items():
        write({**good, wrong: said[0]})
        with pytest.raises(Refused, match=said[1]):
            access.load(address)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vault: {endpont: x}", "says 'endpont' of vault, which is not understood"),
        ("vault: https://s3.example.net", "it is no mapping"),
        ("- vault", "it is no mapping"),
        ("vault:\n\tendpoint: x", "line 2"),
        ("vault: {}\nvault: {}", "line 2: vault is given twice"),
        (f"vault: {'[' * 600}", "no YAML"),
        ("vault: {key_file: [KEY]}", "several of key_file"),
        ("vault:", "says nothing of bucket vault"),
        ("vault: {key_file: KEY, endpoint: 'https://a:b:c'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://h:99999'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://h:0'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://[::1'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://h/path'}", "without a path"),
        ("vault: {key_file: KEY, endpoint: 'https://me:word@h'}", "has endpoint 'https://…@h'"),
        ('vault: {key_file: KEY, region: "a\\x1b[31m"}', "has region"),
        ("vault: {key_file: KEY, region: eu west}", "has region"),
        ("vault: {key_file: KEY, ca_file: /etc/hostname}", "no certificate to read"),
        ("vault: {key_file: KEY, endpoint: 'https://192.0.2.1', path_style: no}", "is no name"),
    ],
)
def test_what_is_written_wrong_is_named_by_the_word_or_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = access.access_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("KEY", key(tmp_path, KEY, SECRET)))
    with pytest.raises(Refused, match=re.escape(said)) as refused:
        access.load(access.parse("s3://vault/x"))
    assert "word" not in str(refused.value) and "\x1b" not in str(refused.value)


@pytest.mark.parametrize("bucket", ["yes", "123", "0123", "null", "1e5", "2026-11-30"])
def test_a_bucket_may_be_called_what_yaml_takes_for_something_else(tmp_path: Path, bucket: str) -> None:
    path = access.access_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{bucket}: {{key_file: {key(tmp_path, KEY, SECRET)}, checksum: yes, patience: 1}}")
    found = access.load(access.parse(f"s3://{bucket}/x"))
    assert found.checksum and found.patience == 1.0


@pytest.mark.parametrize(
    ("bucket", "endpoint", "asked"),
    [
        ("vault", "https://s3.example.net:9", "https://vault.s3.example.net:9"),
        ("vault", "https://vault.s3.example.net", "https://vault.s3.example.net"),
        ("vault", "", "https://vault.s3.us-east-1.amazonaws.com"),
    ],
)
def test_a_bucket_that_is_named_in_the_host_is_asked_there(
    tmp_path: Path, bucket: str, endpoint: str, asked: str
) -> None:
    write({"endpoint": endpoint, "key_file": key(tmp_path, KEY, SECRET), "path_style": "no"})
    found = access.load(access.parse(f"s3://{bucket}/x"))
    assert found.asked(bucket) == asked


@pytest.mark.parametrize(
    ("path_style", "line"),
    [("no", b"GET http://vault.s3.example.net/x/a HTTP"), ("yes", b"GET http://s3.example.net/vault/x/a HTTP")],
)
def test_what_goes_over_the_line_names_the_bucket_where_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_style: str, line: bytes
) -> None:
    """Seen by a proxy that answers nothing, as no name leads to a host here."""
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as asking:
        proxy.settimeout(120)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        given = {"endpoint": "http://s3.example.net", "plain_http": "allowed", "patience": 1}
        write({**given, "key_file": key(tmp_path, KEY, SECRET), "path_style": path_style})
        asked = asking.submit(open_s3("s3://vault/x").read, "a")
        here, _ = proxy.accept()
        with here:
            assert here.makefile("rb").readline().startswith(line)
        proxy.close()
        assert isinstance(asked.exception(), FarFailed)


@pytest.mark.parametrize("endpoint", ["http://s3.example.net", "http://10.0.0.1:9000", "http://localhost.example.net"])
def test_a_line_that_is_not_encrypted_is_refused_unless_it_ends_here_or_is_asked_for(
    endpoint: str, tmp_path: Path
) -> None:
    entry = {"endpoint": endpoint, "key_file": key(tmp_path, KEY, SECRET)}
    write(entry)
    with pytest.raises(Refused, match="not encrypted"):
        access.load(access.parse("s3://vault/x"))
    write({**entry, "plain_http": "allowed"})
    assert access.load(access.parse("s3://vault/x")).plain
    for here in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"):
        write({**entry, "endpoint": here})
        assert access.load(access.parse("s3://vault/x")).plain


def test_keys_are_read_from_a_file_of_mode_0600_only_and_never_shown(tmp_path: Path) -> None:
    path = Path(key(tmp_path, KEY, SECRET))
    write({"endpoint": "https://s3.example.net", "key_file": str(path)})
    path.chmod(0o640)
    with pytest.raises(Refused, match="others can read"):
        access.load(access.parse("s3://vault/x"))
    path.chmod(0o600)
    found = access.load(access.parse("s3://vault/x"))
    assert found.key.secret.reveal() == SECRET and SECRET not in repr(found)
    for text in (KEY, f"{KEY}\n{SECRET}\na\nb", f"aws_access_key_id = {KEY}\nsecret = {SECRET}", f"{KEY}ä\n{SECRET}"):
        path.write_text(text)
        with pytest.raises(Refused, match="no key to read") as refused:
            access.load(access.parse("s3://vault/x"))
        assert SECRET not in str(refused.value)
    path.unlink()
    os.mkfifo(path, 0o600)  # is not waited for
    with pytest.raises(Refused, match="no key to read"):
        access.load(access.parse("s3://vault/x"))
