"""What a fix of a switch port gives as its result."""

from __future__ import annotations

import msgspec


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """By a vcs id of its own: what the switch has now, and how far its configuration equals the copy.

    lines_put_back: how many; left_out: those that were not. stages: what the reboot went through, with seconds.
    host_keys: what each end showed, with its fingerprint.
    By edge ports only `edge_ports`, `weak_crypto` and `host_keys` are filled in.
    """

    hostname: str = ""
    vcsid: int = 0
    old_vcsid: int | None = None
    config_equals_copy: bool = False
    lines_put_back: int = 0
    left_out: tuple[str, ...] = ()
    other_end_verified: bool = False
    weak_crypto: tuple[str, ...] = ()
    host_keys: tuple[str, ...] = ()
    question: str = ""
    stages: tuple[str, ...] = ()
    edge_ports: tuple[str, ...] = ()
