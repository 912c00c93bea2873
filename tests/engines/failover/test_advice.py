"""The advice, carried out: in a namespace of its own its rule resets, its undo takes it back, its check tells both."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines.failover import advice

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("tool", ["nft", "iptables"])
@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_the_advised_lines_take_a_copy_down_and_bring_it_back(tool: str, address: str) -> None:
    assert shutil.which(tool), f"{tool} is needed: apt-get install nftables iptables"
    command = ["unshare", "--net", "--fork", "--kill-child", sys.executable, "-m", "tests.engines.failover.taken_down"]
    done = subprocess.run([*command, tool, address], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    before, down, after = json.loads(done.stdout)
    assert before["code"] == 0, before
    assert down["code"] == 7, down  # curl: failed to connect; where it waits for nothing, it says 28
    assert after["code"] == 0, after


def test_the_undo_lines_and_the_check_are_all_there() -> None:
    words = "\n".join(advice.lines(advice.take_down("shop.test", "203.0.113.20")))
    for needed in ("reject with tcp reset", "--reject-with tcp-reset", "nft delete table", "iptables -D", "curl "):
        assert needed in words
    assert "203.0.113.20" in words
