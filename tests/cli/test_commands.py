"""The command line's contract: exit codes, streams, JSON, and runs that outlive their terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from engines.job import runs
from tests.cli.crashcart import ARGV, ROOT, crashcart
from tests.contract.biosiso import disc

DONE, FAILED, USAGE, REFUSED, STOPPED = 0, 1, 2, 3, 130


@pytest.fixture
def params(tmp_path: Path) -> dict[str, str]:
    return disc(tmp_path / "stage")


def words(params: dict[str, str], *more: str) -> list[str]:
    options = [word for name, value in params.items() for word in (f"--{name}", value)]
    return ["biosiso", "build", *options, *more]


def job_file(tmp_path: Path, params: dict[str, str], **more: object) -> str:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({"task": "biosiso", "params": {**params, **more}}))
    return str(path)


def test_a_run_gives_its_report_on_stdout_and_its_story_on_stderr(params: dict[str, str]) -> None:
    ran = crashcart(*words(params))
    assert ran.returncode == DONE
    report = Path(ran.stdout.strip())
    assert report.name == "report.md"
    assert "bios.iso is rehearsed" in report.read_text()
    assert "[1/3]" in ran.stderr
    assert Path(params["output"]).is_file()


def test_a_job_file_does_what_the_options_do(tmp_path: Path, params: dict[str, str]) -> None:
    by_options = json.loads(crashcart(*words(params, "--dry-run", "--json")).stdout)
    by_file = json.loads(crashcart("run", job_file(tmp_path, params), "--dry-run", "--json").stdout)
    assert by_options == by_file
    assert not Path(params["output"]).exists()
    assert crashcart("run", job_file(tmp_path, params)).returncode == DONE


def test_json_of_a_run_is_one_event_a_line_and_ends_in_the_last_word(params: dict[str, str]) -> None:
    ran = crashcart(*words(params, "--json"))
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert events[0]["event"] == "Started"
    assert events[0]["task"] == "biosiso"
    assert events[-1]["event"] == "Finished"
    assert {"at", "summary", "result", "then"} <= set(events[-1])


def test_a_file_that_would_be_overwritten_needs_its_word(params: dict[str, str]) -> None:
    Path(params["output"]).write_text("precious")
    for more in ((), ("--confirm", "wrong")):
        refused = crashcart(*words(params, *more))
        assert refused.returncode == USAGE
        assert "--confirm bios.iso" in refused.stderr
        assert Path(params["output"]).read_text() == "precious"
    assert crashcart(*words(params, "--confirm", "bios.iso")).returncode == DONE
    assert crashcart("undo", "last").returncode == USAGE
    assert crashcart("undo", "last", "--confirm", "bios.iso").returncode == DONE
    assert Path(params["output"]).read_text() == "precious"


@pytest.mark.parametrize(
    ("argv", "code", "named"),
    [
        (["biosiso", "build"], USAGE, "firmware"),
        (["biosiso", "build", "--frimware", "x"], USAGE, "--frimware"),
        (["bioiso"], USAGE, "bioiso"),
        (["run", "/nowhere.yaml"], REFUSED, "/nowhere.yaml"),
        (["attach", "nothing"], REFUSED, "crashcart runs"),
        (["stop", "nothing"], REFUSED, "crashcart runs"),
        (["report", ""], REFUSED, "crashcart runs"),
        (["rehearse", "juggling"], REFUSED, "juggling"),
        (["biosiso", "inspect", "/nowhere.zip"], REFUSED, "/nowhere.zip"),
        (["backup", "list", "--repo", "/nowhere", "--passphrase-fd", "-1"], USAGE, "open file descriptor"),
        (["backup", "list", "--repo", "/nowhere", "--passphrase-fd", "9" * 30], USAGE, "open file descriptor"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(argv: list[str], code: int, named: str) -> None:
    ran = crashcart(*argv)
    assert ran.returncode == code, ran.stderr
    assert named in ran.stderr
    assert ran.stdout == ""


def test_a_form_value_out_of_bounds_is_a_usage_error(tmp_path: Path, params: dict[str, str]) -> None:
    ran = crashcart("run", job_file(tmp_path, params, form="floppy"))
    assert ran.returncode == USAGE
    assert "form is 'floppy', allowed is one of cd, stick, dual" in ran.stderr


def test_a_refusal_after_looking_is_exit_3_and_touches_nothing(params: dict[str, str]) -> None:
    ran = crashcart(*words({**params, "board": "X9SCM-iiF"}))
    assert ran.returncode == REFUSED
    assert "what helps" in ran.stderr
    assert not Path(params["output"]).exists()


def test_the_history_and_the_reports_can_be_read(params: dict[str, str]) -> None:
    assert "no run yet" in crashcart("runs").stdout
    crashcart(*words(params))
    rows = json.loads(crashcart("runs", "--json").stdout)
    assert [row["status"] for row in rows] == ["done"]
    name = rows[0]["id"]
    assert json.loads(crashcart("report", name, "--format", "json").stdout)["status"] == "done"
    page = crashcart("report", "last", "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    assert 'src="http' not in page
    assert "bios.iso is rehearsed" in crashcart("report", name[:24]).stdout


def test_a_detached_run_is_attached_to_and_ends_with_its_exit_code(params: dict[str, str]) -> None:
    name = crashcart(*words(params, "--detach")).stdout.strip()
    attached = crashcart("attach", name)
    assert attached.returncode == DONE
    assert "bios.iso is rehearsed" in attached.stderr
    assert Path(attached.stdout.strip()).is_file()
    again = crashcart("resume", name)
    assert again.returncode == REFUSED
    assert "is done" in again.stderr


def started(params: dict[str, str], *more: str, **how: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*ARGV, *words(params, "--boot-test", *more)], cwd=ROOT, **how)  # type: ignore[call-overload, no-any-return]


def wait_for_boot() -> tuple[runs.Run, int]:
    """The newest run once it boots its disc, and the number of its QEMU, which stands still: the boot does not end."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        found = runs.every()
        if found and found[0].journal.exists() and b'"boot"' in found[0].journal.read_bytes():
            holder = found[0].holder()
            for machine in emulators(holder.pid) if holder else ():
                os.kill(machine, signal.SIGSTOP)
                return found[0], machine
        time.sleep(0.05)
    raise AssertionError("the run never came to its boot test")


def emulators(process: int) -> Iterator[int]:
    """The QEMUs below a process."""
    with suppress(OSError):  # it has ended
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                if b"qemu-system" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
                    yield child
                yield from emulators(child)


@pytest.mark.boot
def test_closing_the_terminal_leaves_the_run_going_and_attach_shows_its_end(params: dict[str, str]) -> None:
    screen, terminal = pty.openpty()
    child = started(params, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    run, machine = wait_for_boot()
    os.close(screen)
    os.killpg(child.pid, signal.SIGHUP)
    second = crashcart(*words(params))
    assert second.returncode == REFUSED
    assert run.id in second.stderr
    os.kill(machine, signal.SIGCONT)
    attached = crashcart("attach", run.id)
    assert attached.returncode == DONE
    assert "bios.iso is rehearsed" in attached.stderr
    assert child.wait(600) == DONE
    assert Path(params["output"]).is_file()


@pytest.mark.boot
def test_a_stopped_run_leaves_nothing_and_a_killed_one_is_resumed(params: dict[str, str]) -> None:
    child = started(params, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    run, _ = wait_for_boot()
    assert crashcart("stop", run.id).returncode == DONE
    assert child.wait(600) == STOPPED
    assert list(Path(params["output"]).parent.iterdir()) == []
    assert run.status() == "stopped"

    child = started(params, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while len(runs.every()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    run, _ = wait_for_boot()
    child.kill()
    child.wait()
    assert not Path(params["output"]).exists()
    assert "killed: crashcart resume" in crashcart("runs").stdout
    notice = crashcart(*words(params, "--dry-run")).stderr
    assert f"crashcart resume {run.id}" in notice
    assert crashcart("resume", run.id).returncode == DONE
    assert [path.name for path in Path(params["output"]).parent.iterdir()] == ["bios.iso"]


def test_another_user_meets_the_same_lock(tmp_path: Path) -> None:
    from engines.job import lock
    from engines.job.errors import Refused

    target = tmp_path / "target"
    target.write_text("x")
    tmp_path.chmod(0o755)
    identity = lock.content_identity(target)
    with lock.hold(identity, "the-first-run"):
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            try:
                with lock.hold(identity, "the-second-run"):
                    os._exit(7)
            except Refused as refused:
                os._exit(0 if "the-first-run" in refused.why else 8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_damaged_run_folder_hides_no_other_run_and_gives_no_traceback(params: dict[str, str]) -> None:
    crashcart(*words(params))
    name = json.loads(crashcart("runs", "--json").stdout)[0]["id"]
    (runs.home() / "20990101T000000Z-damaged").mkdir()
    (runs.home() / "20990101T000000Z-damaged" / "run.json").write_text("{")
    (runs.home() / name / "plan.json").write_bytes(b"\xff\x00")
    assert [row["id"] for row in json.loads(crashcart("runs", "--json").stdout)] == [name]
    ran = crashcart("undo", name)
    assert ran.returncode == REFUSED
    assert "plan.json cannot be read" in ran.stderr


def test_a_state_folder_that_is_a_file_is_named(
    params: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ran = crashcart(*words(params))
    assert ran.returncode == REFUSED
    assert str(tmp_path / "state") in ran.stderr


def test_a_passphrase_that_nobody_can_be_asked_for_is_a_usage_error_at_once(tmp_path: Path) -> None:
    ran = crashcart("backup", "init", str(tmp_path / "repo"), "--cipher", "aes-256-gcm")
    assert ran.returncode == 2 and "--passphrase-file FILE" in ran.stderr
    words = tmp_path / "words"
    words.write_text("secret words\n")
    words.chmod(0o600)
    opens = ("--passphrase-file", str(words))
    assert crashcart("backup", "init", str(tmp_path / "repo"), "--cipher", "aes-256-gcm", *opens).returncode == 0
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    run = ("backup", "run", str(disk), "--repo", str(tmp_path / "repo"), "--vm", "web1", "--limit", "none")
    for verb in (run, ("backup", "verify", "--repo", str(tmp_path / "repo"))):
        ran = crashcart(*verb)
        assert ran.returncode == 2 and "--passphrase-file FILE" in ran.stderr


def test_a_quiet_run_says_nothing_unless_something_went_wrong(tmp_path: Path) -> None:
    repo, disk = str(tmp_path / "repo"), tmp_path / "disk"
    disk.write_bytes(bytes(2 << 20))
    ran = crashcart("backup", "init", repo, "--quiet")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    words = ("backup", "run", str(disk), "--repo", repo, "--vm", "web1", "--limit", "none", "--quiet")
    ran = crashcart(*words)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    disk.write_bytes(bytes(1 << 20))
    ran = crashcart(*words)
    assert ran.returncode == 4 and "shrank" in ran.stderr and ran.stdout


def test_a_path_of_nobody_and_a_last_run_before_the_first_are_told_in_words(tmp_path: Path) -> None:
    there_is_none = crashcart("virtio", "inspect", "~no-such-user/web1.img")
    assert (there_is_none.returncode, "No such file" in there_is_none.stderr) == (3, True), there_is_none.stderr
    assert "~no-such-user/web1.img" in there_is_none.stderr
    assert "there is no run yet" in crashcart("undo", "last").stderr
