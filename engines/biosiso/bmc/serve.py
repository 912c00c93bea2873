"""Serves one disc over HTTP at one hard-to-guess path, to the addresses it is meant for and to nobody else."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from typing_extensions import override

from engines.biosiso.bmc.peers import PeerServer, taken
from engines.host.files import open_file
from engines.host.holder import boot_id
from engines.job.contract import Cancel
from engines.job.errors import BadParam, Failed, Refused

CHUNK = 256 * 1024  # bytes
PORT = 8623  # where a disc is served unless told otherwise: IPMI's 623, moved out of the privileged range
HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?")
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def span(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte that a Range header asks of `size` bytes; None for all of it. Raises ValueError.

    A form this server does not know, several ranges at once among them, may be answered whole (RFC 9110, 14.2).
    """
    match = RANGE.fullmatch(header.replace(" ", ""))
    if not match or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < start:
            return None
    if start >= size or (not first and int(last) == 0):
        raise ValueError(header)
    return start, end


class _Handler(BaseHTTPRequestHandler):
    server: DiscServer
    protocol_version = "HTTP/1.1"
    server_version = "crashcart"
    sys_version = ""
    timeout = 60.0  # s; a peer that goes quiet must not hold a thread for ever

    def do_GET(self) -> None:
        """The disc or a part of it."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """What GET would say, without the disc."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        disc = self.server
        if self.path != disc.path:
            self._head(HTTPStatus.NOT_FOUND, 0)
            return
        try:
            part = span(self.headers.get("Range", ""), disc.size) if self._same() else None
        except ValueError:
            range_ = {"Content-Range": f"bytes */{disc.size}"}
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, range_)
            return
        first, last = part or (0, disc.size - 1)
        extra = {"ETag": disc.etag, "Content-Type": "application/octet-stream"}
        if part:
            extra["Content-Range"] = f"bytes {first}-{last}/{disc.size}"
        self._head(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK, last - first + 1, extra)
        if body:
            self._send(first, last + 1)

    def _same(self) -> bool:
        return self.headers.get("If-Range", self.server.etag) == self.server.etag

    def _head(self, status: HTTPStatus, length: int, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Accept-Ranges": "bytes", "Content-Length": str(length), **(extra or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, at: int, end: int) -> None:
        while at < end and (part := os.pread(self.server.disc, min(CHUNK, end - at), at)):
            self.wfile.write(part)
            at += len(part)
            self.server.count(len(part))
        self.close_connection |= at < end  # a disc that shrank: the length promised cannot be kept

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the run's journal tells what was fetched."""


class DiscServer(PeerServer):
    """The disc at `path`, while the `with` block lasts."""

    def __init__(self, disc: Path, address: tuple[str, int], path: str, etag: str, peers: frozenset[str]) -> None:
        self.path, self.etag = path, f'"{etag}"'
        self.disc = open_file(disc)
        self.size = os.fstat(self.disc).st_size
        try:
            super().__init__(address, _Handler, peers)
        except BaseException:
            os.close(self.disc)
            raise

    @override
    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        os.close(self.disc)


def free(address: tuple[str, int]) -> None:
    """Try whether something can be served at `address`. Raises Failed."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise taken(address, error) from None


def addresses(host: str) -> frozenset[str]:
    """Every address of `host`. Raises Failed."""
    try:
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError as error:
        raise Failed(f"{host} has no address ({error.strerror})", "correct the name, or give the address") from None


def facing(host: str, port: int) -> str:
    """The address of this machine that `host` would see; a UDP connect asks the kernel and sends nothing."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise Failed(f"{host} cannot be reached ({error.strerror})", "check the address and the network") from None


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A disc and where a BMC finds it; `file` is empty where somebody else serves `url`. Sizes in bytes."""

    url: str
    file: str = ""
    size: int = 0
    sha256: str = ""
    address: str = ""
    port: int = 0

    def serve(self, peers: frozenset[str]) -> DiscServer:
        """The server of it, for `peers` only."""
        return DiscServer(Path(self.file), (self.address, self.port), urlsplit(self.url).path, self.sha256, peers)

    def check(self, cancel: Cancel) -> None:
        """Raises Refused where the file is no longer the one that was reviewed."""
        if self.file and digest(Path(self.file), cancel) != self.sha256:
            raise Refused(f"{self.file} is no longer the disc that was reviewed", "review again, then start anew")


def _any(address: str) -> bool:
    """Whether it would bind every address, in any of the ways to write that: 0, 0x0, ::, ::0, ::ffff:0.0.0.0."""
    with suppress(OSError):
        return socket.inet_aton(address) == bytes(4)
    with suppress(ValueError):
        found = ipaddress.IPv6Address(address.partition("%")[0])
        return int(found.ipv4_mapped or found) == 0
    return False


def one_address(address: str, listen: str) -> None:
    """Raises BadParam for an address that would bind every one."""
    if _any(address):
        raise BadParam("listen", listen, "one address of this machine, as the BMC sees it")


def offer(iso: Path, listen: str, bmc: tuple[str, int], cancel: Cancel) -> Offer:
    """`iso` served at `listen` (ADDRESS[:PORT]; empty for the address that faces the BMC). Raises Refused, Failed.

    The path is the same each time this boot offers this disc to this BMC, so that a plan can be shown,
    sent and resumed unchanged; nobody on the network can tell it, as the boot id never leaves the machine.
    """
    sha256 = digest(iso, cancel)
    address, port = split(listen, "listen", PORT) if listen else (facing(*bmc), PORT)
    one_address(address, listen)
    free((address, port))
    token = hashlib.sha256(f"{boot_id()} {sha256} {bmc}".encode()).hexdigest()[:24]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", iso.name.removesuffix(".iso")) + ".iso"
    host = f"[{address}]" if ":" in address else address
    return Offer(
        url=f"http://{host}:{port}/{token}/{name}",
        file=str(iso.resolve()),
        size=iso.stat().st_size,
        sha256=sha256,
        address=address,
        port=port,
    )


def digest(iso: Path, cancel: Cancel) -> str:
    """SHA-256, in hex, of an ISO 9660 file. Raises Refused."""
    total = hashlib.sha256()
    try:
        with os.fdopen(open_file(iso), "rb") as stream:
            stream.seek(16 * 2048 + 1)  # ECMA-119, 8.1: the first volume descriptor, its identifier
            if stream.read(5) != b"CD001":
                raise Refused(f"{iso} is no ISO 9660 disc", "name the ISO that crashcart biosiso built")
            stream.seek(0)
            while part := stream.read(1024 * 1024):
                cancel.check()
                total.update(part)
    except OSError as error:
        raise Refused(f"{iso}: {error.strerror}", "name an ISO file that can be read") from None
    return total.hexdigest()


def split(text: str, param: str, port: int) -> tuple[str, int]:
    """Host and port of HOST[:PORT], an IPv6 address in brackets. Raises BadParam."""
    match = HOST.fullmatch(text)
    number = int(match["port"] or port) if match else 0
    if not match or not 0 < number < 65536:
        raise BadParam(param, text, "HOST or HOST:PORT, an IPv6 address in [brackets]")
    return match["v6"] or match["host"], number
