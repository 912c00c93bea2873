"""The failover commands as a script calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.engines.failover.stage import open_stage

ROOT = Path(__file__).parents[2]


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "engines.cli", "failover", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT, env={**os.environ})


def test_a_list_in_the_help_reads_as_it_is_typed() -> None:
    said = " ".join(ran("lab", "--help").stdout.split())
    assert "(default: chromium, firefox, curl, python)" in said


def test_probe_gives_one_json_object_and_a_table_whose_first_line_is_the_answer() -> None:
    with open_stage() as stage:
        _, port = stage.copies(["127.0.0.2", "127.0.0.3"])
        at = stage.names("shop.test", ["127.0.0.2", "127.0.0.3"])[1]
        words = ["probe", "shop.test", "--resolver", at, "--scheme", "http", "--port", str(port)]
        plain, as_json = ran(*words), ran(*words, "--json")
    assert plain.returncode == as_json.returncode == 0
    assert plain.stdout.startswith("shop.test: yes: ")
    found = json.loads(as_json.stdout)
    assert found["survives"] is True
    assert found["advice"]["nft_undo"] == ["nft delete table inet crashcart_down"]


def test_predict_gives_one_json_object() -> None:
    with open_stage() as stage:
        at = stage.names("shop.test", ["127.0.0.2", "127.0.0.3"])[1]
        done = ran("predict", "shop.test", "--resolver", at, "--fault", "rst", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [share["share"] for share in found["shares"]] == [1.0, 0.0]
    firefox = next(one for one in found["clients"] if one["client"] == "firefox")
    assert firefox["new"]["fault"] == "rst"


def test_a_name_that_is_none_is_a_usage_error_without_a_traceback() -> None:
    for verb in ("probe", "predict", "watch"):
        done = ran(verb, "https://shop.test/")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "what helps" in done.stderr


def test_lab_clean_with_nothing_to_clean_says_so() -> None:
    done = ran("lab-clean")
    assert (done.returncode, done.stdout) == (0, "nothing was left behind\n")
    assert json.loads(ran("lab-clean", "--json").stdout)["labs"] == []


def test_a_dry_run_shows_the_plan_and_makes_nothing() -> None:
    done = ran("lab", "--clients", "curl", "--dry-run", "--json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    assert [step["id"] for step in plan["steps"]] == ["measure", "table"]
    assert not plan["confirm"]


def test_each_verdict_has_its_exit_code() -> None:
    with open_stage() as stage:
        copies, port = stage.copies(["127.0.0.2", "127.0.0.3"])
        both, one = (stage.names("shop.test", ["127.0.0.2", "127.0.0.3"][:count])[1] for count in (2, 1))
        site = ["probe", "shop.test", "--scheme", "http", "--port", str(port), "--resolver"]
        assert ran(*site, both).returncode == 0
        assert ran(*site, one).returncode == 5
        copies[1].status = "404 Not Found"
        for more in ([], ["--json"]):
            done = ran(*site, both, *more)
            assert done.returncode == 6
            assert "404" in done.stdout
