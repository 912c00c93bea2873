"""Answers that no bucket should give: none is taken for an empty place, for whole data or for an end of the work."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6, socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from typing_extensions import override

from engines.backup.commands.tamper import BucketParams, tamper
from engines.backup.errors import FarFailed
from engines.backup.store.s3 import access
from engines.backup.store.s3 import listing as listed
from engines.backup.store.s3.again import Tries
from engines.backup.store.s3.bucket import TRUSTED
from engines.backup.store.s3.listing import PAGE
from engines.backup.store.s3.store import S3Store, open_s3
from engines.backup.store.s3.upload import PART
from engines.backup.store.s3.versions import ObjectVersions
from engines.job.errors import Refused
from tests.engines.backup.store.test_s3_access import key

XML = '<?xml version="1.0" encoding="UTF-8"?>'
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
NONE = (404, b"<Error><Code>NoSuchKey</Code></Error>")
STRANGE = "as no S3 server does"
Answer = tuple[int, bytes]


class Odd(ThreadingHTTPServer):
    """`says` gives status and body for a request's verb and path; every answer has a tag, which is no MD5."""

    says: Callable[[str, str], Answer] = staticmethod(lambda verb, path: NONE)
    length = True
    lacks = 0  # bytes that its answers are shorter than it says
    requests = 0

    @property
    def endpoint(self) -> str:
        host = "[::1]" if self.address_family == AF_INET6 else "127.0.0.1"
        return f"http://{host}:{self.server_address[1]}"


class Six(Odd):
    address_family = AF_INET6


def kinds() -> list[type[Odd]]:
    """Both, where this machine has IPv6 on its loopback."""
    with suppress(OSError), socket(AF_INET6) as trial:
        trial.bind(("::1", 0))
        return [Odd, Six]
    return [Odd]


class Answers(BaseHTTPRequestHandler):
    server: Odd

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests += 1
        status, body = self.server.says(self.command, self.path)
        self.send_response(status)
        for name, value in {"ETag": '"of-no-md5-3"', "Last-Modified": "Sun, 29 Nov 2026 00:00:00 GMT"}.items():
            self.send_header(name, value)
        if self.server.length:
            self.send_header("Content-Length", str(len(body) + self.server.lacks))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kind = getattr(request, "param", Odd)
    with kind((("::1" if kind is Six else "127.0.0.1"), 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = access.access_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"endpoint": server.endpoint, "key_file": key(tmp_path, "id", "secret"), "patience": 1}
        path.write_text(yaml.safe_dump({"vault": entry}))
        yield server
        server.shutdown()


@pytest.fixture
def store(odd: Odd) -> S3Store:
    return open_s3("s3://vault/r")


def listing(*keys: str, more: str = "") -> Answer:
    """A page of a listing; `more` is where the next one goes on."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-29T00:00:00.000Z</LastModified><ETag>x</ETag>"
        f"<Size>{len(key)}</Size></Contents>"
        for key in keys
    )
    then = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    cut = str(bool(more)).lower()
    return 200, f"{XML}<ListBucketResult><IsTruncated>{cut}</IsTruncated>{rows}{then}</ListBucketResult>".encode()


def always(odd: Odd, *answer: Any) -> None:
    odd.says = lambda verb, path: answer


@pytest.mark.parametrize(
    "body", [HTML, XML.encode() + HTML, b"", b"{}", b"<Listing", listing("r/packs/a")[1][:-40], b"\xff\xfe"]
)
def test_what_is_no_listing_is_never_an_empty_one(odd: Odd, store: S3Store, body: bytes) -> None:
    """gc would take every pack for one that no point needs."""
    always(odd, 200, body)
    for folder in ("points", "packs", "sessions", "."):
        with pytest.raises(FarFailed, match=STRANGE) as failed:
            list(store.names(folder))
        assert "bucket vault" in failed.value.why
    for ask in (lambda one: one.every(), lambda one: one.kept()) if HTML in body else (lambda one: one.every(),):
        with pytest.raises(FarFailed, match=f"{STRANGE}|fault of its own"):
            ask(ObjectVersions("s3://vault/r"))


def test_an_empty_listing_of_a_bucket_is_one(odd: Odd, store: S3Store) -> None:
    odd.says = lambda verb, path: listing() if "list-type" in path else NONE
    began = time.monotonic()
    assert list(store.names("points")) == list(store.names("packs")) == []
    assert odd.requests == 3 or time.monotonic() - began > TRUSTED, "it is proven once, not for every folder"


@pytest.mark.parametrize("words", [True, False])
def test_a_key_that_may_list_its_own_names_alone_sees_an_empty_folder(odd: Odd, store: S3Store, words: bool) -> None:
    denied = b"<Error><Code>AccessDenied</Code></Error>" if words else HTML
    odd.says = lambda verb, path: listing() if "list-type" in path else (403, denied)
    if words:
        assert list(store.names("points")) == []
    else:
        with pytest.raises(FarFailed):
            list(store.names("points"))


def test_a_bucket_in_which_nothing_was_ever_written_is_not_called_sound(odd: Odd) -> None:
    said = f"{XML}<ListVersionsResult><Name>vault</Name><IsTruncated>false</IsTruncated></ListVersionsResult>"
    kept = f"{XML}<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    odd.says = lambda verb, path: (200, (said if "versions" in path else kept).encode())
    with pytest.raises(Refused, match=r"no config\.json"):
        tamper(BucketParams(repo="s3://vault/r"))


@pytest.mark.parametrize("odd", kinds(), indirect=True)
def test_a_page_may_hold_one_name(odd: Odd, store: S3Store) -> None:
    def says(verb: str, path: str) -> Answer:
        found = re.search(r"continuation-token=(\d+)", path)
        at = int(found[1]) if found else 0
        return listing(f"r/packs/{at:03}.pack", more=str(at + 1) if at < 2 * PAGE else "")

    odd.says = says
    assert [name for name, _ in store.sizes("packs")] == [f"packs/{at:03}.pack" for at in range(2 * PAGE + 1)]


def test_a_listing_that_goes_round_is_given_up(odd: Odd, store: S3Store) -> None:
    always(odd, *listing("r/packs/a.pack", "r/packs/b.pack", more="same"))
    with pytest.raises(OSError, match="gives no end"):
        list(store.names("packs"))
    assert odd.requests <= 2 * PAGE


@pytest.mark.parametrize("in_order", [True, False])
def test_a_listing_goes_on_where_its_line_broke(odd: Odd, store: S3Store, *, in_order: bool) -> None:
    """Behind the last name, which no name is lost by where they come in order; else the listing fails."""
    known = [f"r/packs/{at:04}.pack" for at in range(5 * PAGE)]
    if not in_order:
        known[:2] = reversed(known[:2])
    broken: list[str] = []

    def says(verb: str, path: str) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        first = sum(name <= asked.get("start-after", "") for name in known)
        at = int(asked.get("continuation-token") or first)
        page = listing(*known[at : at + PAGE], more=str(at + PAGE) if at + PAGE < len(known) else "")
        odd.lacks = int(at == 3 * PAGE and len(broken) < 2)
        broken.extend([path] * odd.lacks)
        return page

    odd.says = says
    access_ = yaml.safe_load(access.access_file().read_text())
    access_["vault"]["patience"] = 30
    access.access_file().write_text(yaml.safe_dump(access_))
    again = open_s3("s3://vault/r")
    if not in_order:
        with pytest.raises(FarFailed):
            list(again.names("packs"))
        return
    assert [f"r/{name}" for name in again.names("packs")] == known
    assert len(broken) == 2


def test_pages_without_a_name_that_never_end_are_given_up(odd: Odd, store: S3Store) -> None:
    """Each says that there is more: what lists would ask for ever, and never come back."""
    asked: list[str] = []

    def says(verb: str, path: str) -> Answer:
        asked.append(path)
        return listing(more=str(len(asked)))

    odd.says = says
    with pytest.raises(TimeoutError):
        list(listed.pages(store.bucket._steady, "packs", lambda: Tries(1), 1.0))
    assert len(asked) > 1


@pytest.mark.soak  # as long as an answer may take
def test_they_are_told_in_words(odd: Odd, store: S3Store) -> None:
    always(odd, *listing(more="same"))
    with pytest.raises(OSError, match=r"not one name in \d+ s, as of a server that gives no end"):
        list(store.names("packs"))


def test_names_outside_of_what_was_asked_for_are_nobodys(odd: Odd, store: S3Store) -> None:
    others = ("other/packs/a.pack", "r/index/c.pack", "r/packsd.pack", "r/packs/\u00e9 +%41.pack")
    always(odd, *listing(*others, "r/packs/mine.pack"))
    assert list(store.names("packs")) == ["packs/mine.pack"]


@pytest.mark.parametrize("name", ["r/../packs/x.pack", "r/packs/./x"])
def test_a_name_that_is_no_path_is_named(odd: Odd, store: S3Store, name: str) -> None:
    always(odd, *listing("r/packs/mine.pack", name))
    with pytest.raises(FarFailed, match="cannot be listed") as failed:
        list(store.names("packs"))
    assert name in failed.value.why and "tamper" in failed.value.what_helps


def test_an_answer_without_its_length_is_said_to_be_none(odd: Odd, store: S3Store) -> None:
    always(odd, 200, b"0123456789")
    odd.length = False
    for call in (lambda: store.read("a"), lambda: store.read("a", 0, 5), lambda: store.size("a")):
        with pytest.raises(FarFailed, match=STRANGE):
            call()


@pytest.mark.parametrize(("code", "said"), [("InternalError", "fault of its own"), ("SlowDown", "slow down")])
def test_a_pack_whose_completion_fails_in_an_answer_of_200_is_not_there(
    odd: Odd, store: S3Store, code: str, said: str
) -> None:
    """S3 begins its answer before it knows: the error stands in the body (CompleteMultipartUpload)."""

    def says(verb: str, path: str) -> Answer:
        if verb == "POST" and "uploadId" in path:
            return 200, f"{XML}<Error><Code>{code}</Code><Message>later</Message></Error>".encode()
        begun = f"{XML}<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        return {"POST": (200, begun.encode()), "PUT": (200, b""), "DELETE": (204, b"")}.get(verb, NONE)

    odd.says = says
    growing = store.append("packs/s.p.part")
    with pytest.raises(FarFailed, match=said):
        growing.write([bytes(PART + 1)])
        growing.seal("packs/p.pack")


def test_a_request_that_is_not_known_is_not_asked_for_minutes(odd: Odd, store: S3Store) -> None:
    always(odd, 501, b"<Error><Code>NotImplemented</Code></Error>")
    with pytest.raises(FarFailed, match="does not know that request"):
        store.put("points/a", b"a", new=True)
    assert odd.requests == 1
