"""Files of a point go back into a stopped guest whole, or not at all, and the image can be had back bit for bit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.guest.surgery import UNDO
from engines.guest.undolog import UndoLog
from engines.job.contract import (
    Finished,
    Progress,
    RunFailed,
)
from engines.job.errors import Refused
from tests.cli.crashcart import crashcart
from tests.engines.backup.files.judging import MIB, mounted
from tests.engines.backup.put.ward import SIZE, START, Ward, after, killed, planned, told
from tests.engines.guest.images import sha256

pytestmark = pytest.mark.boot


def test_files_come_back_with_all_they_had_across_a_kill_and_undo_is_bit_for_bit(ward: Ward) -> None:
    image = ward.copy("whole.img")
    before = sha256(image)
    params = ward.params(image, "/p2/srv/www", "/p2/etc/motd", conflict="rename", special=True, setuid=True)
    first, plan = killed(params, Progress, "commit")
    lines = told(plan)
    assert plan.confirm == "whole.img"
    assert lines["p2:/srv/www/index.html"].startswith("new, 68.4 KiB")
    assert "setuid" in lines["p2:/srv/www/tool"]
    assert "p2:/srv/www/\\xff\\xfe new\\x0aline \\x1b[31m" in lines
    assert sha256(image) != before
    with pytest.raises(Refused, match="was interrupted while it wrote"):
        planned(params)
    finished = after(first, "resume")
    assert isinstance(finished, Finished), finished
    now = ward.files(image)
    stamp = f".from-{ward.point.rpartition('@')[2]}".encode()
    for path, wanted in ward.before.items():
        if path.startswith(b"srv/www/") or path == b"etc/motd":
            taken = path in (b"etc/motd", b"srv/www/abs", b"srv/www/empty")
            assert now[path + stamp if taken else path] == wanted, path
    assert now[b"etc/motd"]["size"] == 31
    assert now[b"etc/hosts"] == ward.before[b"etc/hosts"]
    with mounted(image, ward.folder / "seen", START, SIZE, "ro", "noload") as root:
        assert (root / "srv" / "www" / "sparse").stat().st_blocks * 512 < MIB
    assert (
        subprocess.run(["e2fsck", "-fn", f"{image}?offset={START}"], check=False, capture_output=True).returncode == 0
    )
    with changed(image, UndoLog(first.folder / UNDO).manifest().extents[0].offset):
        refused = after(first, "undo")
        assert isinstance(refused, RunFailed), refused
        assert "the guest has run since" in refused.why
        assert first.id in refused.what_helps
    assert isinstance(after(first, "undo"), Finished)
    assert sha256(image) == before


@contextmanager
def changed(image: Path, at: int) -> Iterator[None]:
    """A byte as a guest that has run would have left it."""
    with image.open("r+b") as stream:
        stream.seek(at)
        old = stream.read(1)
        stream.seek(at)
        stream.write(bytes([old[0] ^ 0x55]))
        stream.flush()
        yield
        stream.seek(at)
        stream.write(old)


def test_the_whole_way_by_the_command_line_replaces_and_names_each_file(ward: Ward) -> None:
    image = ward.copy("cli.img")
    before = sha256(image)
    inside = ("/p2/etc/motd", "/p2/srv/www/tool", "/p2/srv/www/null", "/p2/srv/www/index.html")
    words = [f"{ward.point}:{path}" for path in inside]
    ran = crashcart(
        "backup", "put", *words, "--repo", ward.repo, "--into", str(image), "--conflict", "overwrite",
        "--confirm", "cli.img", "--json",
    )  # fmt: skip
    assert ran.returncode == 4, ran.stderr
    told_ = [json.loads(line) for line in ran.stdout.splitlines()]
    assert told_[-1]["event"] == "Finished"
    assert {key: told_[-1]["result"][key] for key in ("created", "replaced", "kept", "left_out")} == {
        "created": 2, "replaced": 1, "kept": 0, "left_out": 1,
    }  # fmt: skip
    assert any("tool goes without its capabilities (--setuid keeps them)" in each.get("text", "") for each in told_)
    now = ward.files(image)
    assert now[b"etc/motd"] == ward.before[b"etc/motd"]
    assert now[b"srv/www/index.html"] == {**ward.before[b"srv/www/index.html"], "links": 1}
    assert now[b"srv/www/tool"]["mode"] & 0o7777 == 0o755
    assert "security.capability" not in now[b"srv/www/tool"]["attributes"]
    assert b"srv/www/null" not in now
    report = crashcart("report", "last").stdout
    for wanted in (
        "p2:/etc/motd  replaced  -rw-r--r-- 0:0 8 bytes",
        "p2:/srv/www/tool  created (without its setuid or setgid bit)",
        "p2:/srv/www/null  left out (a device node or pipe (--special puts it))",
        "crashcart undo ",
    ):
        assert wanted in report, report
    assert crashcart("undo", "last", "--confirm", "cli.img").returncode == 0
    assert sha256(image) == before
