"""The whole engine over a real S3 server, and what a bucket's refusals say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.backup.errors import FarFailed
from engines.backup.repository import config
from engines.backup.store.s3 import access, fitness
from engines.backup.store.s3.store import S3Store, open_s3
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
    own_weed.allow("vault", patience=60)
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
    assert not list(open_s3(repo).names("points"))
    made = lab.done("backup", source=str(source), repo=repo, vm="web", limit="none")
    assert restored(repo, made["point"], tmp_path / "back") == source.read_bytes()


# ── what a bucket refuses ───────────────────────────────────────────────────────────────────────────


def entry(weed: Weed, bucket: str, **changed: Any) -> S3Store:
    weed.allow(bucket, **{"patience": 1, **changed})
    return open_s3(f"s3://{bucket}/r")


def key(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "keys"
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return str(path)


def test_a_key_that_is_not_known_and_a_secret_that_does_not_fit_are_told_apart(
    weed: Weed, bucket: str, tmp_path: Path
) -> None:
    with pytest.raises(FarFailed, match="does not know this access key"):
        entry(weed, bucket, key_file=key(tmp_path, "nobody", SECRET)).read("config.json")
    with pytest.raises(FarFailed, match="secret does not fit"):
        entry(weed, bucket, key_file=key(tmp_path, KEY, "wrong")).read("config.json")


def test_what_the_environment_says_of_keys_and_servers_does_not_count(
    store: S3Store, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SESSION_TOKEN": "x", "ENDPOINT": "http://127.0.0.1:1", "ACCESS_KEY_ID": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    again = open_s3(f"s3://{bucket}/r")
    again.put("a", b"a")
    assert store.read("a") == b"a"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("<Code>NoSuchBucket</Code>", 404, "does not exist"),
        ("<Code>AccessDenied</Code>", 403, "does not let this key"),
        ("", 403, "does not let this key"),
        ("<Code>ExpiredToken</Code>", 400, "has expired"),
        ("<Code>RequestTimeTooSkewed</Code>", 403, "clock is wrong"),
        ("<Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region>", 400, "another region.*eu-west-3"),
        ("<Code>PermanentRedirect</Code>", 400, "another region"),
        ("<Code>SlowDown</Code>", 503, "slow down"),
        ("", 429, "slow down"),
        ("<Code>QuotaExceeded</Code>", 403, "is full"),
        ("", 507, "is full"),
        ("<Code>InternalError</Code>", 500, "fault of its own"),
        ("<Code>TeaPot</Code><Message>short and stout</Message>", 418, "418 TeaPot: short and stout"),
    ],
)
def test_every_refusal_names_the_bucket_and_what_helps(
    answering: str, weed: Weed, bucket: str, body: str, status: int, said: str
) -> None:
    """A server of our own that answers so, whatever is asked: no real one does all of it on demand."""
    ANSWER[:] = [status, f"<Error>{body}</Error>".encode() if body else b""]
    store = entry(weed, bucket, endpoint=answering)
    calls: list[Any] = [
        lambda: store.put("a", b"x"),
        lambda: store.put("a", b"x", new=True),
        lambda: list(store.names("packs")),
        lambda: store.append("packs/a.b.part").seal("packs/b.pack"),
    ]
    for call in calls:
        with pytest.raises(FarFailed, match=said) as failed:
            call()
        assert bucket in failed.value.why and failed.value.what_helps
        assert "dmesg" not in str(failed.value) and "Debug source" not in str(failed.value)


ANSWER: list[Any] = [200, b""]


@pytest.fixture
def answering() -> Iterator[str]:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(ANSWER[0])
            body = ANSWER[1] if self.command != "HEAD" else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


# ── fitness ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_server_is_fit_and_nothing_of_the_proof_is_left(store: S3Store) -> None:
    proofs = fitness.prove(store.bucket)
    assert [proof for proof in proofs if not proof.kept] == []
    assert len(proofs) == 5
    assert not list(store.bucket.listed(""))


def test_a_server_that_promises_nothing_is_refused_by_the_name_of_what_it_lacks(
    answering: str, weed: Weed, bucket: str
) -> None:
    ANSWER[:] = [200, b""]
    store = entry(weed, bucket, endpoint=answering)
    with pytest.raises((Refused, FarFailed)):
        store.begin(())


# ── the access ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "where",
    ["s3://", "s3://B/x", "s3://key:secret@vault/x", "s3://vault//x", "s3://vault/../x", "s3://vault/a b", "s3://v/x"],
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
    path.write_text(KEY)
    with pytest.raises(Refused, match="no key to read"):
        access.load(access.parse("s3://vault/x"))
