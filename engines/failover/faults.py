"""The ways in which an address goes dark, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    rule: what nftables does with a packet to the address, empty where the web copy itself misbehaves.
    mode: how the web copy answers meanwhile. within: it strikes a visitor who has the site open.
    """

    name: str
    words: str
    rule: str = ""
    mode: str = "well"
    within: bool = False


_ALL = (
    Fault("drop", "silence: packets are dropped (cable pulled, host off, firewall drops)", rule="drop"),
    Fault("rst", "connections are reset (web server stopped, host up, or REJECT)", rule="reject with tcp reset"),
    Fault("icmp", "ICMP host unreachable", rule="reject with icmp type host-unreachable"),
    Fault("close", "accepts, then closes without a word", mode="close"),
    Fault("reset", "accepts, then resets", mode="reset"),
    Fault("hang", "accepts, then says nothing", mode="hang"),
    Fault("tls-hang", "accepts, then TLS never answers (https)", mode="tls-hang"),
    Fault("503", "answers 503", mode="503"),
    Fault("slow", "answers after 5 s", mode="slow"),
    Fault("mid-session", "silence while the visitor has the site open", rule="drop", within=True),
    Fault("mid-session-rst", "resets while the visitor has the site open", rule="reject with tcp reset", within=True),
)
FAULTS = {fault.name: fault for fault in _ALL}
