"""What the command line tells: versions, help, examples, what was meant, what is missing, what Tab can mean."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from engines.cli import completion, examples, main, options
from engines.cli.acts import CALLS
from engines.cli.commands import COMMANDS, RUN
from engines.cli.parsing import EXITS, parser
from engines.job import history, runs
from engines.job.jobfile import Job
from engines.job.params import absolute, convert
from engines.tasks import TASKS
from tests.absent import absent
from tests.cli.crashcart import ROOT, crashcart

USAGE = 2
VERBS = [
    (name, verb)
    for name, task in TASKS.items()
    for verb in [*(look.verb for look in task.looks()), *(engine.verb for engine in task.engines())]
]


def test_the_version_is_the_packages() -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert crashcart("--version").stdout == f"crashcart {version}\n"


def test_help_comes_in_both_ways_and_tells_every_command() -> None:
    said = crashcart("help").stdout
    assert said == crashcart("--help").stdout
    assert all(f"\n    {name}" in said for name in (*TASKS, "runs", "undo", "completion"))
    assert crashcart("help", "backup", "restore").stdout == crashcart("backup", "restore", "--help").stdout


def test_every_help_fits_a_console(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in ([], *([name] for name in TASKS), *([command.name] for command in COMMANDS), *map(list, VERBS)):
        with pytest.raises(SystemExit):
            parser([*words, "--help"], CALLS).parse_args([*words, "--help"])
        said = capsys.readouterr().out
        assert said
        assert [line for line in said.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(("task", "verb"), VERBS)
def test_every_verb_has_an_example_that_would_run(task: str, verb: str) -> None:
    known = next(one for half in TASKS[task].of(verb) for one in half if one.verb == verb)  # type: ignore[attr-defined]
    line = examples.example(f"crashcart {task} {verb}", known.params)  # type: ignore[attr-defined]
    words = shlex.split(line)[1:]
    leaf = parser(words, CALLS)
    parsed = leaf.parse_args(words)
    given = options.given(parsed, known.params)  # type: ignore[attr-defined]
    assert options.lacking(known.params, given) == []  # type: ignore[attr-defined]
    named = {name: value for name, value in given.items() if not name.endswith("_file")}
    convert(known.params, absolute(known.params, named), task=task)  # type: ignore[attr-defined]
    assert line in parsed.leaf.format_help().replace(" \\\n     ", "")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["bakup"], "did you mean backup?"),
        (["backup", "restor", "a", "b"], "did you mean restore?"),
        (["virtio", "convert", "a.img", "--boot-tset"], "did you mean --boot-test or"),
        (["runs", "--jsn"], "did you mean --json?"),
        (["--versio"], "did you mean --version?"),
        (["unod", "last"], "did you mean undo?"),
        (["report", "last", "--format", "jsn"], "'jsn', allowed is one of md, json, html"),
        (["completion", "bsh"], "did you mean bash"),
        (["runs", "prune", "--days", "x"], "--days is 'x', allowed is a whole number"),
        (["virtio"], "inspect, convert, restock, putback"),
        (["biosiso", "build"], "--firmware FIRMWARE, --output OUTPUT"),
        (["biosiso", "build", "--dos", "x"], "--firmware FIRMWARE, --output OUTPUT"),
        (["backup", "run"], "SOURCE, --vm VM"),
        (["vdx", "diagnose", "--user", "x"], "--switch HOST[:PORT], --interface INTERFACE"),
    ],
)
def test_a_mistyped_command_is_told_what_was_meant_and_all_that_is_missing(argv: list[str], named: str) -> None:
    ran = crashcart(*argv)
    assert ran.returncode == USAGE
    assert named in ran.stderr
    assert "--help" in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("argv", "code", "named"),
    [
        (["biosiso", "build", "--firmware", "x", "--output", "y", "--form", "stik"], 2, "did you mean stick?"),
        (["failover", "probe", "shop.test", "--scheme", "htps"], 2, "did you mean https"),
        (["rehearse", "biosis"], 3, "did you mean biosiso"),
        (["undo", "lats"], 3, "did you mean last?"),
    ],
)
def test_a_mistyped_value_is_told_what_was_meant(argv: list[str], code: int, named: str) -> None:
    ran = crashcart(*argv)
    assert ran.returncode == code
    assert named in ran.stderr


def test_a_mistyped_run_is_told_which_was_meant() -> None:
    run = runs.create(Job(task="backup", params={}), "/srv/web1.img")
    wrong = run.id.replace("backup", "bakup")
    assert f"did you mean {run.id}?" in crashcart("report", wrong).stderr


@pytest.mark.parametrize(
    ("argv", "kind", "code"),
    [
        (["bakup", "--json"], "usage", 2),
        (["backup", "run", "--json"], "usage", 2),
        (["runs", "--json", "--jsn"], "usage", 2),
        (["attach", "nothing", "--json"], "refused", 3),
        (["virtio", "inspect", "/nowhere.img", "--json"], "refused", 3),
        (["runs", "prune", "--keep", "-1", "--json"], "usage", 2),
    ],
)
def test_with_json_an_error_is_one_object(argv: list[str], kind: str, code: int) -> None:
    ran = crashcart(*argv)
    assert ran.returncode == code
    error = json.loads(ran.stdout)["error"]
    assert (error["kind"], error["code"]) == (kind, code)
    assert error["why"]
    assert error["what_helps"]


def test_every_verb_that_has_json_gives_its_errors_as_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    speaking = [command for command in COMMANDS if "--json" in [name for name, _ in command.options]]
    lines = [[*verb, "--json", "--no-such-option"] for verb in VERBS]
    lines += [[command.name, "--json", "--no-such-option"] for command in speaking]
    lines += [[command.name, "nothing", "--json"] for command in speaking if RUN in command.options]
    lines += [["run", "/nowhere.yaml", "--json"], ["rehearse", "biosis", "--json"], ["help", "bakup", "--json"]]
    assert len(lines) > 70
    for argv in lines:
        code = main(argv)
        said = capsys.readouterr()
        error = json.loads(said.out)["error"]
        assert error["code"] == code and code in (2, 3), argv
        assert error["why"] in said.err and error["what_helps"], argv


def test_the_readme_and_every_help_name_the_same_exit_codes() -> None:
    said = " ".join((ROOT / "README.md").read_text().split())
    run, verdict = EXITS.removeprefix("exit: ").split("; of a question with a verdict ")
    assert f"**Exit codes.** A run: {run.replace('2 usage', '2 usage (also a missing `--confirm`)')}." in said
    assert re.search(rf"with a verdict \([^)]*\) {re.escape(verdict)};", said)


# ── records of runs ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    assert crashcart("backup", "init", str(tmp_path / "repo")).returncode == 0
    return tmp_path / "repo"


def backed_up(repo: Path) -> str:
    """The id of a run that can be undone."""
    ran = crashcart(
        "backup", "run", str(repo.parent / "disk.img"), "--repo", str(repo), "--vm", "web1", "--limit", "none"
    )
    assert ran.returncode == 0, ran.stderr
    return runs.find("last").id


def test_runs_tell_their_end_and_their_report_and_old_records_go_by_rule(repo: Path) -> None:
    began = time.time()
    kept = backed_up(repo)
    for _ in range(2):
        assert crashcart("backup", "verify", "--repo", str(repo)).returncode == 0
    rows = json.loads(crashcart("runs", "--json").stdout)
    assert all(row["ended"] >= row["created"] for row in rows)
    assert rows[0]["ended"] > began
    assert all(Path(row["report"]).is_file() for row in rows)

    verifies = [row["id"] for row in rows if row["task"] == "backup-verify"]
    shown = crashcart("runs", "prune", "--keep", "1", "--days", "0", "--dry-run").stdout
    assert shown.splitlines()[:-1] == verifies[1:]
    assert "can still be undone" in shown
    assert json.loads(crashcart("runs", "prune", "--keep", "0", "--days", "1", "--json").stdout)["removed"] == []
    gone = json.loads(crashcart("runs", "prune", "--keep", "0", "--days", "0", "--json").stdout)["removed"]
    assert gone == verifies
    assert kept in {row.id for row in history.rows()}


def test_an_undo_shows_its_own_plan_and_touches_nothing_before(repo: Path) -> None:
    name = backed_up(repo)
    shown = crashcart("undo", name, "--dry-run")
    assert shown.returncode == 0
    assert "Take it back: the restore point is taken out" in shown.stdout
    assert json.loads(crashcart("undo", name, "--dry-run", "--json").stdout)["undoable"] is False
    assert runs.find(name).status() == "done"
    assert crashcart("undo", name).returncode == 0


def test_a_whole_path_is_taken_for_the_short_word(repo: Path) -> None:
    backed_up(repo)
    target = repo.parent / "back.img"
    target.write_bytes(b"old")
    words = ("backup", "restore", "web1/disk0@latest", str(target), "--repo", str(repo))
    refused = crashcart(*words)
    assert refused.returncode == USAGE
    assert "--confirm back.img" in refused.stderr
    assert crashcart(*words, "--confirm", str(target)).returncode == 0
    assert crashcart(*words, "--confirm", "back.img").returncode == 0


# ── Tab and the manual ──────────────────────────────────────────────────────────────────────────────


def test_tab_knows_commands_options_runs_repositories_and_points(repo: Path) -> None:
    name = backed_up(repo)
    assert completion.candidates([], "ba") == ["backup"]
    assert "--boot-test" in completion.candidates(["virtio", "convert"], "--bo")
    assert completion.candidates(["biosiso", "build", "--form"], "d") == ["dual"]
    assert name in completion.candidates(["undo"], "")
    assert completion.candidates(["undo", name], "") == []
    assert str(repo) in completion.candidates(["backup", "list", "--repo"], "")
    points = completion.candidates(["backup", "restore", "--repo", str(repo)], "web1")
    assert points[0] == "web1/disk0@latest"
    assert len(points) == 2
    assert completion.candidates(["help", "virtio"], "con") == ["convert"]
    assert completion.FILES in completion.candidates(["virtio", "convert"], "")


def tabbed(line: str, tmp_path: Path) -> list[str]:
    """What bash itself would offer at the end of `line`."""
    (tmp_path / "crashcart").write_text(f'#!/bin/sh\nexec "{ROOT}/.venv/bin/python" -m engines.cli "$@"\n')
    (tmp_path / "crashcart").chmod(0o755)
    (tmp_path / "done").write_text(completion.script("bash"))
    last = line.rpartition(" ")[2].rpartition("@")[2].rpartition(":")[2]
    asked = (
        f"source {tmp_path}/done; compopt() {{ :; }}; COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}};"
        f"COMP_WORDS=(crashcart {shlex.quote(last)}); COMP_CWORD=1; _crashcart; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    return ran.stdout.split()


def test_bash_completes_words_and_points_with_their_colons(repo: Path, tmp_path: Path) -> None:
    backed_up(repo)
    assert tabbed("crashcart fail", tmp_path) == ["failover"]
    assert tabbed(f"crashcart backup ls --repo {repo} web1/disk0@la", tmp_path) == ["latest"]


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_every_script_is_one_that_its_shell_can_read(shell: str, check: str, tmp_path: Path) -> None:
    said = crashcart("completion", shell).stdout
    (tmp_path / "script").write_text(said)
    if shutil.which(shell) is None:
        absent(shell)
    subprocess.run([shell, check, str(tmp_path / "script")], check=True)


def test_the_manual_pages_are_made_from_the_same_words(tmp_path: Path) -> None:
    made = crashcart("man", str(tmp_path / "man1")).stdout.split()
    assert [Path(path).name for path in made] == ["crashcart.1", *(f"crashcart-{name}.1" for name in TASKS)]
    text = (tmp_path / "man1" / "crashcart-backup.1").read_text()
    assert "crashcart backup restore web1/disk0@latest" in text.replace(r"\-", "-")
    if shutil.which("groff") is None:
        absent("groff")
    for path in made:
        ran = subprocess.run(["groff", "-man", "-ww", "-Tascii", path], capture_output=True, text=True, check=True)
        assert ran.stderr == ""
