"""What a bucket refuses, and what it does not have, in words that fit a bucket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engines.backup.errors import FarFailed
from engines.backup.store.s3 import fitness
from engines.backup.store.s3.store import S3Store, open_s3
from engines.backup.store.s3.taken import LONGEST
from engines.backup.store.s3.versions import ObjectVersions
from engines.job.errors import Refused
from tests.engines.backup.store.test_s3_access import key
from tests.engines.backup.store.weed import KEY, SECRET, Weed
from tests.memory import MIB, grows_less_than


@pytest.fixture
def store(bucket: str) -> S3Store:
    return open_s3(f"s3://{bucket}/r")


def entry(weed: Weed, bucket: str, **changed: Any) -> S3Store:
    weed.allow(bucket, **{"patience": 1, **changed})
    return open_s3(f"s3://{bucket}/r")


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
        ("<Code>PermanentRedirect</Code><Region>eu-west-3</Region>", 301, "another region"),
        ("", 307, "another region"),
        ("<Code>InvalidRegion</Code>", 400, "another region"),
        ("<Code>ExpiredTokenException</Code>", 403, "has expired"),
        ("<Code>AccessDenied</Code><Message>Request has expired</Message>", 403, "clock is wrong"),
        ("<Code>XMinioServerNotInitialized</Code><Message>wait</Message>", 503, "slow down"),
        ("<Code>KMS.DisabledException</Code><Message>key</Message>", 400, "400 KMS.DisabledException: key"),
        ("<Code>NotEntitled</Code><Message>pay</Message>", 403, "does not let this key.*NotEntitled: pay"),
        ("<Code>RequestTimeout</Code>", 400, "in vain for the rest"),
        ("<Code>InvalidObjectState</Code>", 403, "into an archive"),
        ("<Code>NotImplemented</Code>", 501, "does not know that request"),
        ("<html>Blocked by policy</html>", 403, "as no S3 server does"),
        ("<!DOCTYPE html><title>Not here", 404, "as no S3 server does"),
        ("log in first", 407, "as no S3 server does"),
        ("<Code>TeaPot</Code><Message>short and stout</Message>", 418, "418 TeaPot: short and stout"),
    ],
)
def test_every_refusal_names_the_bucket_and_what_helps(
    answering: str, weed: Weed, bucket: str, body: str, status: int, said: str
) -> None:
    """A server of our own that answers so, whatever is asked: no real one does all of it on demand."""
    ANSWER[:] = [status, (f"<Error>{body}</Error>" if "<Code>" in body else body).encode()]
    store = entry(weed, bucket, endpoint=answering)
    calls: list[Any] = [
        lambda: store.put("a", b"x"),
        lambda: store.put("a", b"x", new=True),
        lambda: list(store.names("packs")),
        lambda: store.append("packs/a.b.part").seal("packs/b.pack"),
        lambda: store.missing(["packs/a.pack"]),
    ]
    for call in calls:
        with pytest.raises(FarFailed, match=said) as failed:
            call()
        assert bucket in failed.value.why and failed.value.what_helps
        assert "dmesg" not in str(failed.value) and "Debug source" not in str(failed.value)


def test_a_page_that_asks_for_a_login_is_not_taken_for_a_bucket(answering: str, weed: Weed, bucket: str) -> None:
    ANSWER[:] = [200, b"<html>Please log in</html>"]
    store = entry(weed, bucket, endpoint=answering)
    calls: list[Any] = [
        lambda: store.put("a", b"x"),
        lambda: store.put("a", b"x", new=True),
        lambda: store.read("a", 3, 5),
        lambda: store.size("a"),
        lambda: store.append("packs/a.b.part").seal("packs/b.pack"),
    ]
    for call in calls:
        with pytest.raises(FarFailed, match="as no S3 server does"):
            call()


def test_who_keeps_sending_us_elsewhere_is_no_bucket(answering: str, weed: Weed, bucket: str) -> None:
    ANSWER[:] = [302, b""]
    store = entry(weed, bucket, endpoint=answering)
    for call in (lambda: store.read("a"), lambda: store.size("a"), ObjectVersions(f"s3://{bucket}/r").kept):
        with pytest.raises(FarFailed, match="as no S3 server does"):
            call()


ANSWER: list[Any] = [200, b""]


@pytest.fixture
def answering() -> Iterator[str]:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Answers(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(ANSWER[0])
            if ANSWER[0] == 302:
                self.send_header("Location", "/elsewhere")
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


def endless(head: Callable[[BaseHTTPRequestHandler], dict[str, str]]) -> type[BaseHTTPRequestHandler]:
    """A server that sends zeros for as long as somebody takes them; `head` gives the headers of an answer."""

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = head(self)
            self.send_response(206 if "Content-Range" in headers else 200)
            for name, value in {
                "Content-Length": str(1 << 40),
                "ETag": '"x"',
                "Last-Modified": FIRST,
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # until the other end has enough
                while True:
                    self.wfile.write(bytes(1 << 20))

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Endless


def more_than_asked(asked: BaseHTTPRequestHandler) -> dict[str, str]:
    """The range that was asked for, it says, and goes on."""
    return {"Content-Range": f"bytes {asked.headers['Range'].removeprefix('bytes=')}/{1 << 40}"}


@pytest.mark.parametrize(
    ("head", "read", "said", "most"),
    [
        (lambda _: {}, (), "gives no end", LONGEST + 128 * MIB),
        (more_than_asked, (5, 1000), "more than the 1000 bytes", 128 * MIB),
        (more_than_asked, (1 << 20, 1 << 20), "more than the 1048576 bytes", 128 * MIB),
    ],
)
def test_a_server_that_gives_no_end_is_given_up(
    weed: Weed,
    bucket: str,
    head: Callable[[BaseHTTPRequestHandler], dict[str, str]],
    read: tuple[int, ...],
    said: str,
    most: int,
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), endless(head)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = entry(weed, bucket, endpoint=f"http://127.0.0.1:{server.server_address[1]}")
        with grows_less_than(most), pytest.raises(OSError, match=said):
            store.read("config.json", *read)
        server.shutdown()


FIRST = "Sun, 29 Nov 2026 00:00:00 GMT"
