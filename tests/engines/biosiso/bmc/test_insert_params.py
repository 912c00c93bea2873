"""What an insert accepts, and what its plan says of the disc."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from engines.biosiso.bmc.insert import Insert
from engines.job.contract import Cancel, Plan
from engines.job.errors import BadParam, Refused
from engines.job.jobfile import Job
from engines.job.params import Secret, convert
from tests.engines.biosiso.bmc.redfish_board import Board, job
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD


def plan_of(what: Job) -> Plan:
    return Insert().plan(convert(Insert.params, {**what.params, "password": Secret(PASSWORD)}), Cancel())


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("bmc", {"bmc": "http://10.0.0.1/"}),
        ("bmc", {"bmc": "10.0.0.1:99999"}),
        ("iso", {"iso": ""}),
        ("iso", {"url": "http://10.0.0.1/x.iso"}),
        ("url", {"iso": "", "url": "ftp://10.0.0.1/x.iso"}),
        ("url", {"iso": "", "url": "http://me:mine@10.0.0.1/x.iso"}),
        ("user", {"user": "a:b"}),
        ("fingerprint", {"fingerprint": "sha256:abc"}),
        ("listen", {"listen": "0.0.0.0"}),
        ("boot_mode", {"boot_mode": "BIOS"}),
        ("eject_after", {"eject_after": -1}),
    ],
)
def test_a_wrong_parameter_is_named(board: Board, disc: Path, name: str, more: dict[str, Any]) -> None:
    with pytest.raises(BadParam) as bad:
        plan_of(job(disc, board.port, **more))
    assert bad.value.name == name
    assert "mine" not in bad.value.why


def test_a_file_that_is_no_disc_and_an_address_that_is_not_ours_are_refused(board: Board, disc: Path) -> None:
    with pytest.raises(Refused, match=r"192\.0\.2\.1"):
        plan_of(job(disc, board.port, listen="192.0.2.1"))
    disc.write_bytes(b"PK" + bytes(50_000))
    with pytest.raises(Refused, match="no ISO 9660"):
        plan_of(job(disc, board.port))


def test_the_plan_names_disc_and_path_and_the_path_is_hard_to_guess(board: Board, disc: Path) -> None:
    facts = dict(plan_of(job(disc, board.port)).facts)
    assert hashlib.sha256(disc.read_bytes()).hexdigest() in facts["disc"]
    token = facts["served at"].split("/")[3]
    assert len(token) == 24
    disc.write_bytes(disc.read_bytes() + b"more")
    assert token not in dict(plan_of(job(disc, board.port)).facts)["served at"]
