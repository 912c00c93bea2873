"""Whatever a guest, a server, a switch or a repository answers, its reader ends: with data, or an error of its own."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rrset
import pytest
import xxhash

from engines.backup import nbd_wire
from engines.backup.errors import Damaged
from engines.backup.files.model import BrowseError, Volume
from engines.backup.files.volumes.disk_map import survey
from engines.backup.files.volumes.quick import open_quick
from engines.backup.nbd.handshake import Handshake, NbdExport
from engines.backup.repository import record, segment
from engines.backup.store.local import LocalStore
from engines.biosiso.vendor import archive
from engines.failover.asking import dns_answer, http1, page
from engines.job import jobfile
from engines.job.errors import CrashcartError
from engines.vdx.line import patterns
from engines.vdx.line.screen import plain
from engines.vdx.switch import config, parse
from tests.engines.backup.files.volumes.test_replay import Bytes
from tests.fuzz.mutation import changed, changes, seed, spots, with_an_end

FEW, MANY = 150, 100_000  # cases; the second in `make soak`, some hours
FOLDERS = 4


def walked(volume: Volume, path: bytes = b"/", depth: int = 0) -> Iterator[bytes]:
    for node in volume.list(path):
        inner = path.rstrip(b"/") + b"/" + node.name
        yield inner
        try:
            if node.is_folder and depth < FOLDERS:
                yield from walked(volume, inner, depth + 1)
            elif node.is_file:
                volume.read(inner, 0, 10_000)
                for _ in zip(volume.extents(inner), range(50), strict=False):
                    continue
            volume.attributes(inner)
        except BrowseError:
            continue


def disk(raw: bytes, case: int, places: list[int]) -> None:
    bytes_ = Bytes(raw, changes(case, places))
    try:
        volumes = survey(bytes_).volumes
    except BrowseError:
        return
    for info in volumes:
        try:
            for _ in zip(walked(open_quick(bytes_, info)), range(200), strict=False):
                continue
        except BrowseError:
            continue


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as to:
        for name in ("X11/AFUDOSU.SMC", "X11/X11SSL9.115", "readme.txt", "deep/er/x"):
            to.writestr(name, name.encode() * 200)
    return made.getvalue()


def a_zip(raw: bytes, folder: Path) -> None:
    (folder / "x.zip").write_bytes(raw)
    archive.members(folder / "x.zip")


def answer() -> bytes:
    asked = dns.message.make_query("www.example.net", "A")
    told = dns.message.make_response(asked)
    told.answer += [
        dns.rrset.from_text("www.example.net.", 60, "IN", "CNAME", "a.example.net."),
        dns.rrset.from_text("a.example.net.", 60, "IN", "A", "192.0.2.1", "192.0.2.2"),
        dns.rrset.from_text("a.example.net.", 60, "IN", "HTTPS", "1 . alpn=h2 ipv4hint=192.0.2.1"),
    ]
    return told.to_wire()


def a_name(raw: bytes, _folder: Path) -> None:
    for kind in ("A", "AAAA", "HTTPS"):
        dns_answer.decode(raw, "www.example.net", kind)


HTTP = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"30\r\n<!doctype html><meta charset=latin1><!-- x --><title\r\n1c\r\n>Shop &amp; more</title><p>x\r\n0\r\n\r\n"
)


def a_page(raw: bytes, _folder: Path) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(raw)
        reader.feed_eof()
        head = await http1.read_head(reader)
        body = await http1.read_body(reader, head)
        assert len(body) <= http1.BODY
        page.title(page.text(body, head.headers.get("content-type", "")))

    page.title(page.text(raw, "text/html"))
    asyncio.run(read())


def asks() -> bytes:
    def option(kind: int, data: bytes = b"") -> bytes:
        return struct.pack(">8sII", nbd_wire.OPTION, kind, len(data)) + data

    context = struct.pack(">I", 4) + b"disk" + struct.pack(">II", 1, 15) + b"base:allocation"
    return (
        struct.pack(">I", 3)
        + option(8)
        + option(3)
        + option(10, context)
        + option(6, struct.pack(">I4sHH", 4, b"disk", 1, 3))
        + option(7, struct.pack(">I4sH", 4, b"disk", 0))
    )


def a_client(raw: bytes, _folder: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw[:60_000])
        theirs.shutdown(socket.SHUT_WR)
        Handshake(ours, NbdExport(b"disk", 1 << 20, 4096, b"a disk")).agree()


SWITCH = Path(__file__).parents[1] / "engines/vdx/line/samples"


def a_switch(raw: bytes, _folder: Path) -> None:
    text, known = plain(raw.decode("utf-8", "replace")), patterns.load()
    for read in (parse.ports, parse.members, parse.neighbours, parse.islports, parse.isl_peers, parse.other_sessions):
        read(text)
    parse.mode(text, known)
    parse.uptime(text, known)
    parse.spanning_port_channels(text, 1)
    config.differences(config.blocks(config.tidy(text)), config.blocks(text))


JOB = b'task: backup\nparams: {disk: [/dev/vg/web1, "b"], repo: /srv/r, limit: 40%, keep: 3, deep: {a: [1, {b: ~}]}}\n'


def index() -> bytes:
    head = segment.HEADER.pack(segment.MAGIC, bytes(16), 0, 0, 0, 0, 0)
    return head + xxhash.xxh3_64_intdigest(head).to_bytes(8, "little")


def a_segment(raw: bytes, folder: Path) -> None:
    (folder / "x.idx").write_bytes(raw)
    segment.Segment(LocalStore(folder), "x.idx", bytes(16))


def a_record(raw: bytes, _folder: Path) -> None:
    record.parse(raw)


READERS: dict[str, tuple[Callable[[], bytes], Callable[[bytes, Path], None], tuple[type[Exception], ...]]] = {
    "zip": (zipped, a_zip, (CrashcartError,)),
    "dns": (answer, a_name, ()),
    "http": (lambda: HTTP, a_page, (http1.Wrong,)),
    "nbd": (asks, a_client, (nbd_wire.Hostile, OSError, EOFError)),
    "switch": (lambda: b"\n".join(path.read_bytes() for path in sorted(SWITCH.iterdir()))[:6000], a_switch, ()),
    "job": (lambda: JOB, lambda raw, _: jobfile.parse(raw, "job") and None, (CrashcartError,)),
    "index": (
        lambda: segment.HEADER.pack(segment.MAGIC, bytes(16), 0, 0, 0, 0, 0).ljust(64, b"\0"),
        a_segment,
        (Damaged,),
    ),
    "record": (lambda: b"CCREC\0\1" + bytes(80), a_record, ()),
}


def messages(name: str, folder: Path, cases: range) -> None:
    make, read, its_own = READERS[name]
    raw = make()
    for case in cases:
        try:
            with with_an_end():
                read(changed(raw, case), folder)
        except its_own:
            continue
        except Exception as error:
            raise AssertionError(f"case {case} of {name}: {error!r}") from error


def disks(name: str, cases: range) -> None:
    raw = seed(name)
    places = spots(raw)
    for case in cases:
        try:
            with with_an_end():
                disk(raw, case, places)
        except Exception as error:
            raise AssertionError(f"case {case} of {name}: {error!r}") from error


DISKS = ("ext", "ntfs", "fat", "exfat", "gpt", "mbr")


@pytest.mark.parametrize("name", READERS)
def test_a_message_that_was_meddled_with_ends_its_reader(name: str, tmp_path: Path) -> None:
    messages(name, tmp_path, range(FEW))


@pytest.mark.parametrize("name", DISKS)
def test_a_disk_that_was_meddled_with_ends_its_reader(name: str) -> None:
    disks(name, range(FEW))


@pytest.mark.soak
@pytest.mark.parametrize("name", READERS)
def test_many_messages(name: str, tmp_path: Path) -> None:
    messages(name, tmp_path, range(FEW, MANY))


@pytest.mark.soak
@pytest.mark.parametrize("name", DISKS)
def test_many_disks(name: str) -> None:
    disks(name, range(FEW, MANY))
