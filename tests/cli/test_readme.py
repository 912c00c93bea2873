"""Every command line of README runs as written, on a machine that has what README names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engines.cli import options
from engines.cli.acts import CALLS
from engines.cli.parsing import parser
from engines.job.params import absolute, convert
from tests.cli.crashcart import ROOT
from tests.cli.world import enter

README = (ROOT / "README.md").read_text()
LINES = re.findall(r"^    ((?:crashcart|make|\.venv/bin/pip) .*)$", README, re.MULTILINE)
INLINE = sorted(set(re.findall(r"`(crashcart [^`]+)`", README.replace("\n", " "))))
JOB = re.search(r"^      (task: biosiso\n      params: .*)$", README, re.MULTILINE)

PLANNED = {
    "crashcart biosiso build": "boots two virtual machines; tests/engines/biosiso does",
    "crashcart failover lab": "two browsers, 24 measurements of up to 30 s",
    "crashcart failover watch": "goes on until somebody stops it",
    "crashcart vdx fix": "reboots a switch; tests/engines/vdx does",
}
PARSED = {
    "crashcart biosiso insert": "a board's BMC, whose fingerprint nobody knows beforehand",
    "crashcart virtio inspect": "reads the guest by libguestfs's virtual machine; tests/engines/virtio does",
    "crashcart virtio convert": "the same, and boots the guest twice",
    "crashcart undo last": "takes back such a conversion",
    "crashcart backup put": "libguestfs's virtual machine; tests/engines/backup/put does",
    "crashcart backup init s3:": "a bucket; tests/engines/backup/store has one",
    "crashcart fleet serve": "goes on for ever; each of its rounds is a `fleet run`",
}
TOOLS = {
    "make run": "installs packages",
    "make test": "runs this test",
    ".venv/bin/pip": "fetches from PyPI",
}
VERDICTS = {"crashcart failover probe": 5}  # the site has no https, so one of its copies could not carry it
MEANT = {
    "sha256:…": "sha256:" + "ab" * 32,
    "fix …": 'fix --switch sw1 --user admin --password-file pw --interface "TenGigabitEthernet 1/0/5" --mate sw2'
    " --out-of-band",
}


def kept(line: str, among: dict[str, str]) -> bool:
    return any(line.startswith(start) for start in among)


def meant(line: str) -> str:
    """The line with its three dots written out."""
    for dots, words in MEANT.items():
        line = line.replace(dots, words)
    return line


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, object]]]:
    """By line, the code and the words of each that runs or is planned here."""
    here = tmp_path_factory.mktemp("readme")
    assert JOB
    (here / "job.yaml").write_text(JOB[1].replace("\n      ", "\n"))
    wanted = [line for line in LINES if not kept(line, PARSED | TOOLS)]
    wanted = [f"{meant(line)} --dry-run" if kept(line, PLANNED) else line for line in wanted]
    (here / "lines.json").write_text(json.dumps([*wanted, "crashcart attach last", "crashcart run job.yaml --dry-run"]))
    argv = [*enter(), sys.executable, "-m", "tests.cli.world", here / "lines.json", here / "found.json"]
    homes = {f"XDG_{kind}_HOME": str(here / kind) for kind in ("STATE", "CONFIG", "CACHE")}
    env = {**os.environ, **homes, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    yield json.loads((here / "found.json").read_text())


def test_what_readme_shows_runs_as_written(found: dict[str, dict[str, object]]) -> None:
    expected = {line: next((code for start, code in VERDICTS.items() if line.startswith(start)), 0) for line in found}
    wrong = {line: ran for line, ran in found.items() if ran["code"] != expected[line]}
    assert wrong == {}
    assert not any("Traceback" in str(ran["said"]) for ran in found.values())


def test_few_lines_are_not_run_and_each_says_why() -> None:
    elsewhere = [line for line in LINES if kept(line, PLANNED | PARSED | TOOLS)]
    unused = [start for start in PLANNED | PARSED | TOOLS if not any(line.startswith(start) for line in LINES)]
    assert unused == []
    assert len(LINES) - len(elsewhere) >= 15
    assert len([line for line in elsewhere if not kept(line, PLANNED)]) <= 13


@pytest.mark.parametrize("line", [line for line in LINES if kept(line, PARSED)])
def test_the_others_are_taken_by_the_command_up_to_their_plan(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(meant(line))[1:]
    parsed = parser(words, CALLS).parse_args(words)
    cls = getattr(getattr(parsed, "engine", None) or getattr(parsed, "look", None), "params", None)
    if cls is None:
        assert parsed.call is CALLS["again"]
        return
    given = options.given(parsed, cls)
    assert options.lacking(cls, given) == []
    convert(cls, absolute(cls, {name: value for name, value in given.items() if not name.endswith("_file")}))


@pytest.mark.parametrize("line", INLINE)
def test_what_stands_in_a_sentence_is_a_command_too(line: str) -> None:
    words = [word.partition("|")[0] for word in shlex.split(re.sub(r" (?:VERB …|\[.*)$", "", line))[1:]]
    if words != ["TASK"]:
        words = words if len(words) > 1 or words[0] in ("doctor", "fleet-agent", "rehearse") else [*words, "--help"]
        if "--help" not in words:
            parser(words, CALLS).parse_args(words)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make")])
def test_make_knows_what_readme_has_it_do(line: str) -> None:
    subprocess.run([*shlex.split(line, comments=True), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_extras_of_the_pip_line_are_those_of_the_project() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    line = next(line for line in LINES if line.startswith(".venv/bin/pip"))
    named = re.search(r"\.\[([^]]+)\]", line)
    assert named
    assert set(named[1].split(",")) <= set(extras)
    assert Path(ROOT, *re.findall(r"-m (\S+)", line)[0].split(".")).with_suffix(".py").is_file()


def test_the_fleet_yaml_of_readme_is_one(tmp_path: Path) -> None:
    from engines.fleet.config.load import load

    block = re.search(r"\n\n((?:    (?:hosts|repositories|uplinks|policies|guests|zone|alerts): .*\n)+)", README)
    assert block
    path = tmp_path / "fleet.yaml"
    path.write_text("\n".join(line.strip() for line in block[1].splitlines()))
    assert set(yaml.safe_load(path.read_text())) >= {"hosts", "repositories", "policies", "guests"}
    for name in ("ops.url", "ping.url"):
        (tmp_path / name).write_text("json://127.0.0.1/\n")
    load(path)


def test_every_question_whose_exit_code_is_a_verdict_is_named_among_the_exit_codes() -> None:
    from engines.tasks import TASKS

    told = README[README.index("**Exit codes.**") : README.index("**Where things lie.**")]
    verdicts = [f"`{name} {look.verb}`" for name, task in TASKS.items() for look in task.looks() if look.code]
    assert verdicts
    assert [verdict for verdict in verdicts if verdict not in told] == []
