"""The site that is looked at: its name as DNS, TLS and HTTP want it, and where to ask for it."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated, Literal

import msgspec

from engines.job.errors import BadParam, Refused
from engines.job.params import Params, param

LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")  # url.spec.whatwg.org, "ends in a number": such a host is IPv4
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
EXAMPLE = "a host name such as www.example.org"


class SiteParams(Params, frozen=True, kw_only=True):
    """Which site, and how to reach it."""

    name: Annotated[
        str, param("Name", "the site's host name", kind="host", metavar="NAME", allowed=EXAMPLE, positional=True)
    ]
    resolver: Annotated[
        tuple[str, ...],
        param("Resolvers", "ask these instead of this machine's", allowed="IP or IP:PORT", metavar="IP"),
    ] = ()
    scheme: Annotated[Literal["http", "https"], param("Scheme", "how visitors come")] = "https"
    port: Annotated[int, param("Port", "0 is the scheme's own", ge=0, le=65535)] = 0
    path: Annotated[str, param("Path", "the page that is fetched", pattern="^/", allowed="a path such as /status")] = (
        "/"
    )
    expect: Annotated[str, param("Expected text", "what the page of a healthy copy contains", metavar="TEXT")] = ""
    timeout: Annotated[int, param("Time-out", "seconds for DNS, and again for each address", ge=1, le=60)] = 3
    ca_file: Annotated[
        str, param("CA file", "certificates to trust beside this machine's", kind="file", metavar="FILE.pem")
    ] = ""
    insecure: Annotated[bool, param("Insecure", "take any certificate")] = False
    client_cert: Annotated[
        str,
        param("Client certificate", "for sites that ask for one: it and its key", kind="file", metavar="FILE.pem"),
    ] = ""
    header: Annotated[
        tuple[str, ...], param("Headers", "sent along", allowed="NAME: VALUE", metavar="'NAME: VALUE'")
    ] = ()
    user_agent: Annotated[str, param("User agent", "what the requests call themselves", metavar="TEXT")] = ""
    follow: Annotated[bool, param("Follow", "follow redirects that stay on the site, at the same address")] = False


class Server(msgspec.Struct, frozen=True):
    """A DNS server."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        if self.port == 53:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def host_name(text: str) -> str:
    """The name in ASCII, lower case and without its last dot. Raises BadParam."""
    given = text.strip()
    if "/" in given or given.startswith("http:"):
        raise BadParam("name", text, EXAMPLE, "leave out the scheme and the path: each is given by itself")
    if _is_address(given.strip("[]")):
        raise BadParam("name", text, EXAMPLE, "give the name that visitors use: addresses are looked up")
    parts = given.removesuffix(".").split(".")
    try:
        ascii_labels = [label.encode("ascii").decode() for label in parts] if given.isascii() else labels(given)
    except UnicodeError as error:
        raise BadParam("name", text, EXAMPLE, f"correct the name ({error.__cause__ or error})") from None
    if NUMBER.fullmatch(ascii_labels[-1]):
        raise BadParam("name", text, EXAMPLE, "browsers take it for an address: give the name that visitors use")
    if not all(LABEL.fullmatch(label) for label in ascii_labels):
        raise BadParam("name", text, EXAMPLE, *_helps(given))
    name = ".".join(ascii_labels).lower()
    if len(name) > 253:  # RFC 1035 3.1: 255 octets on the wire
        raise BadParam("name", f"{name[:20]}... of {len(name)} characters", "a name of at most 253 characters")
    return name


def _helps(given: str) -> tuple[str, ...]:
    if re.fullmatch(r"[^:@]+:\d+", given):
        return ("leave out the port, which is given by itself (--port)",)
    return ()


def labels(given: str) -> list[str]:
    """Labels of an international name as browsers ask for them: UTS 46 without transition, so ß stays what it is.

    Raises UnicodeError. Symbols that IDNA 2008 leaves out (emoji) are asked for all the same, as browsers do.
    """
    import idna

    mapped = idna.uts46_remap(given, std3_rules=False, transitional=False).removesuffix(".").split(".")
    return [label if label.isascii() else _a_label(label) for label in mapped]


def _a_label(label: str) -> str:
    import idna

    try:
        return idna.alabel(label).decode("ascii")
    except idna.InvalidCodepointContext:
        raise
    except idna.InvalidCodepoint:
        return "xn--" + label.encode("punycode").decode("ascii")


def headers(given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Name and value of each header. Raises BadParam."""
    found = []
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or not HEADER.fullmatch(name) or not value.isprintable():
            raise BadParam("header", line, "NAME: VALUE on one line")
        found.append((name, value.strip()))
    return tuple(found)


def proxies(name: str = "") -> list[str]:
    """A note for each proxy that the environment names for the site: clients go through it, a probe does not."""
    from urllib.request import proxy_bypass

    if name and proxy_bypass(name):
        return []
    notes = []
    for variable in ("https_proxy", "http_proxy", "all_proxy"):
        given, value = next(((n, os.environ[n]) for n in (variable, variable.upper()) if os.environ.get(n)), ("", ""))
        if value:
            shown = value.rpartition("//")[2].partition("/")[0].rpartition("@")[2]
            notes.append(f"{given} names a proxy ({shown}): clients here go through it, this went straight to the site")
    return notes


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def server(text: str) -> Server:
    """A DNS server from IP, IP:PORT or [IPv6]:PORT. Raises BadParam."""
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?|([^:]+):(\d+)|(.+)", text.strip())
    address = (found[1] or found[3] or found[5]) if found else text
    port = int((found and (found[2] or found[4])) or 53)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise BadParam("resolver", text, "an address such as 192.0.2.1 or 192.0.2.1:5353") from None
    if not 0 < port < 65536:
        raise BadParam("resolver", text, "a port from 1 to 65535")
    return Server(address, port)


def servers(given: tuple[str, ...]) -> tuple[Server, ...]:
    """The DNS servers given, or else this machine's. Raises BadParam or Refused."""
    if given:
        return tuple(server(part) for text in given for part in text.split(",") if part.strip())
    import dns.exception
    import dns.resolver

    try:
        known = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException:
        known = []
    if not known:
        raise Refused("this machine names no DNS server in /etc/resolv.conf", "name one with --resolver IP")
    return tuple(server(str(address)) for address in known)


def web_port(params: SiteParams) -> int:
    """The port that visitors come to."""
    return params.port or (443 if params.scheme == "https" else 80)
