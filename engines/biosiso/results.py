"""What the runs of biosiso give as their result."""

from __future__ import annotations

import msgspec


class Disc(msgspec.Struct, frozen=True, kw_only=True):
    """Of `build`: the medium, its size in bytes, and the command to type. before: where what it replaced is kept."""

    output: str
    sha256: str
    bytes: int
    command: str
    before: str = ""


class Inserted(msgspec.Struct, frozen=True, kw_only=True):
    """Of `insert`. system, slot: Redfish paths. bytes_fetched: by the BMC from our server, where we served it."""

    bmc: str
    system: str
    slot: str
    url: str
    bytes_fetched: int = 0
