"""The same probe from another machine, over a real sshd on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.failover.asking import elsewhere
from engines.failover.asking.elsewhere import Joined, ProbeParams
from engines.job.errors import BadParam
from engines.job.params import convert
from tests.engines.backup.store.sshd import Sshd
from tests.engines.failover.stage import Stage

NAME = "shop.test"
TWO = ["127.0.0.2", "127.0.0.3"]
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    with Sshd(folder) as server:
        lines = [f"IdentityFile {folder}/key", "IdentitiesOnly yes", "StrictHostKeyChecking no"]
        (folder / "client").write_text("\n".join([*lines, f"UserKnownHostsFile {folder}/known"]) + "\n")
        for name, before in (("crashcart", ""), ("cut-off", "unshare --net ")):
            (folder / name).write_text(f'#!/bin/sh\ncd {ROOT}\nexec {before}{sys.executable} -m engines.cli "$@"\n')
            (folder / name).chmod(0o755)
        yield server


def given(stage: Stage, sshd: Sshd, *places: str) -> dict[str, object]:
    _, port = stage.copies(TWO)
    at = stage.names(NAME, TWO)[1]
    config = str(sshd.folder / "client")
    return {
        "name": NAME, "resolver": [at], "scheme": "http", "port": port, "timeout": 20,
        "from_": list(places), "ssh_config": config, "expect": "this is copy",
    }  # fmt: skip


def place(sshd: Sshd, name: str) -> str:
    return f"ssh://{sshd.place}{sshd.folder / name}"


def joined(stage: Stage, sshd: Sshd, *places: str) -> Joined:
    return elsewhere.joined(convert(ProbeParams, given(stage, sshd, *places)))


def test_a_probe_from_elsewhere_joins_its_views(stage: Stage, sshd: Sshd) -> None:
    found = joined(stage, sshd, place(sshd, "crashcart"))
    (there,) = found.elsewhere
    assert there.probed is not None, there.why
    assert [light.state for light in there.probed.lights] == ["ok", "ok"]
    assert found.survives is True
    assert f"from {there.place}: yes" in elsewhere.table(found)


def test_the_worst_place_is_the_verdict(stage: Stage, sshd: Sshd) -> None:
    found = joined(stage, sshd, place(sshd, "crashcart"), place(sshd, "cut-off"))
    assert found.survives is False
    assert "cut-off: no: DNS gives no address" in found.verdict


def test_a_place_without_crashcart_leaves_the_answer_open_and_says_what_helps(stage: Stage, sshd: Sshd) -> None:
    found = joined(stage, sshd, place(sshd, "absent"))
    assert found.survives is None
    assert "ssh://HOST/PATH/TO/crashcart" in found.verdict


def test_it_is_an_option_of_the_command(stage: Stage, sshd: Sshd) -> None:
    params = given(stage, sshd)
    argv = [sys.executable, "-m", "engines.cli", "failover", "probe", NAME, "--json", "--scheme", "http"]
    argv += ["--port", str(params["port"]), "--resolver", str(params["resolver"][0]), "--timeout", "20"]  # type: ignore[index]
    argv += ["--from", place(sshd, "crashcart"), "--ssh-config", str(sshd.folder / "client")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["elsewhere"][0]["probed"]["survives"] is True


@pytest.mark.parametrize(
    "place",
    ["host", "ssh://", "ssh://-oProxyCommand=x", "ssh://a b", "ssh://u@-x", "ssh://h:99999", "ssh://h;id", "sftp://h"],
)
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(BadParam) as refused:
        elsewhere.joined(convert(ProbeParams, {"name": NAME, "resolver": ["127.0.0.1:1"], "from_": [place]}))
    assert refused.value.name == "from"


def test_what_is_asked_is_quoted_for_the_far_shell() -> None:
    params = convert(ProbeParams, {"name": NAME, "expect": "$(id) 'x'", "from_": ["ssh://u@h:2222/opt/crashcart"]})
    argv = elsewhere.command(params.from_[0], params)
    assert argv[-2] == "h"
    assert argv[argv.index("-p") + 1] == "2222"
    assert argv[-1].startswith("/opt/crashcart failover probe shop.test --json")
    assert "'--expect=$(id) '\"'\"'x'\"'\"''" in argv[-1]
