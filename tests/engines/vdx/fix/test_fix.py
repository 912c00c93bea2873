"""The fix, on switches with every trouble a reboot can bring."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.job import lock, runs
from engines.job.contract import CommandChange, Measured, Progress, StepStarted
from engines.rehearsal.switches.factory import FACTORY_ADDRESS
from tests.engines.vdx.conftest import Lab, everything_below, failed, finished, knobs, mended, until

Labs = Callable[..., Lab]
ORDER = ["connect", "backup", "change", "wait", "restore", "save", "verify"]


def test_the_seeds_case_ends_with_both_ends_up_and_the_configuration_as_it_was(lab: Labs, tmp_path: Path) -> None:
    here = lab(knobs(down=3600.0))
    before = here.a.shown()

    def seen(event: object) -> None:
        if isinstance(event, Measured) and event.data.get("stage") == "refused":
            here.a.knobs.down = 0.0

    word = mended(here, here.fix(stable_for=1, when=seen), before)
    steps = [event.step for event in here.events() if isinstance(event, StepStarted)]
    assert steps == ORDER
    assert word.result["left_out"] == [] and not here.warnings()
    assert any("vcsid of its own when it is commissioned" in line for line in word.then)
    stages = [event.data["stage"] for event in here.events() if isinstance(event, Measured)]
    assert [stage for stage in ("refused", "silent", "login", "ready") if stage in stages][-1] == "ready"
    assert "refused" in stages
    assert here.run is not None
    copy = here.run.folder / "running-config.switch"
    assert copy.read_text() == before
    for path, content in everything_below(tmp_path):
        assert here.switches.password.encode() not in content, path
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or "known_hosts" in path.name, path
    assert "<hidden>" in (here.run.folder / "transcript-switch.log").read_text()
    progress_never_goes_back_within_a_step(here)
    the_plan_named_exactly_the_commands_that_were_sent(here)
    assert "s3cr3t-c0mmunity" not in here.told().replace(copy.read_text(), "").replace(
        (here.run.folder / "running-config.after").read_text(), ""
    )


def progress_never_goes_back_within_a_step(here: Lab) -> None:
    seen: list[Progress] = []
    for event in here.events():
        if isinstance(event, StepStarted):
            seen = []
        if isinstance(event, Progress):
            assert not seen or (event.done >= seen[-1].done and event.total == seen[-1].total)
            seen.append(event)


def the_plan_named_exactly_the_commands_that_were_sent(here: Lab) -> None:
    promised = {change.command for change in here.planned.changes if isinstance(change, CommandChange)}
    sent = [text for text in here.a.commands if text.startswith(("vcs", "copy"))]
    assert set(sent) == promised == {"vcs vcsid 2 set-rbridge-id 1", "copy running-config startup-config"}
    assert not [text for text in here.b.commands if text.startswith(("vcs", "copy"))]


@pytest.mark.parametrize(
    "trouble",
    [
        {"drop_after_y": True, "vcs_word": "rbridge-id"},
        {"reset": False},
        {"motd": "Welcome to sw1#\nsw1# not a prompt\n", "mode_prefix": True, "log_every": 0.13, "silent": 0.6},
        {"question": "The switch will be rebooted.  Continue? (yes/no)?:", "hide_off": True, "startup_differs": True},
        {"pager_stuck": True, "cps": 20000},
    ],
    ids=lambda trouble: "+".join(trouble),
)
def test_a_reboot_with_trouble_is_mended_all_the_same(lab: Labs, trouble: dict[str, object]) -> None:
    here = lab(knobs(**trouble))
    before = here.a.shown()
    mended(here, here.fix(), before)
    assert here.questions == []


def test_a_new_host_key_and_the_factory_password_are_asked_about(lab: Labs) -> None:
    here = lab(knobs(new_host_key=True, factory_password="factory0"))
    before = here.a.shown()
    last = here.fix("yes", "log in as admin", "factory0")
    mended(here, last, before)
    assert "SHA256:" in here.questions[0] and "known is SHA256:" in here.questions[0]
    assert any("new ssh host key" in text for text in here.warnings())
    assert b"factory0" not in b"".join(content for _, content in everything_below(here.run.folder))  # type: ignore[union-attr]  # it ran
    assert here.a.logins_failed == 1


@pytest.mark.parametrize("way", ["ssh", "console"])
def test_what_a_rebooted_switch_asks_is_told_and_no_login_is_tried_again(lab: Labs, way: str) -> None:
    here = lab(knobs(asks_after="Your password has expired.\nNew password: ", lose_address=way == "console"))
    more = {"console": here.switches.console(here.a), "out_of_band": False} if way == "console" else {}
    word = failed(here.fix(**more))
    assert "Your password has expired. New password:" in word.why and "by hand" in word.what_helps
    assert "told to reboot" in word.left_behind[0] and here.questions == []


def test_a_declined_host_key_ends_the_run_and_says_what_is_left(lab: Labs) -> None:
    here = lab(knobs(new_host_key=True))
    word = failed(here.fix("no"))
    assert "told to reboot" in word.left_behind[0] and "resume" in word.what_helps
    before = (here.run.folder / "running-config.switch").read_text()  # type: ignore[union-attr]  # it ran
    mended(here, here.again("resume", "yes"), before)


def test_a_lost_management_address_is_restored_over_the_console(lab: Labs) -> None:
    here = lab(knobs(lose_address=True, factory_password="factory0"))
    before = here.a.shown()
    console = here.switches.console(here.a)
    last = here.fix("log in as admin", "factory0", console=console, out_of_band=False, reboot_timeout=40)
    mended(here, last, before)
    assert FACTORY_ADDRESS not in here.a.shown()
    assert "console" in (here.run.folder / "transcript-switch.log").read_text()  # type: ignore[union-attr]  # it ran


def test_a_switch_that_was_only_reached_by_console_is_mended(lab: Labs) -> None:
    here = lab()
    before = here.a.shown()
    here.switches.call(here.switches.hosts["sw1"].enter("down"))
    word = here.fix(console=here.switches.console(here.a), out_of_band=False)
    mended(here, word, before)


def test_a_refused_command_changes_nothing(lab: Labs) -> None:
    here = lab(knobs(refuse_vcs="%Error: Operation not allowed while firmware download is in progress"))
    before = here.a.shown()
    word = failed(here.fix())
    assert "firmware download" in word.why and word.left_behind == ()
    assert here.a.shown() == before and here.a.reboots == 0


def test_a_question_nobody_armed_is_answered_no(lab: Labs) -> None:
    here = lab(knobs(question="Erase all zoning? [y/n]:"))
    word = failed(here.fix())
    assert "Erase all zoning?" in word.why and "vdx-patterns.yaml" in word.what_helps
    assert here.a.reboots == 0 and here.a.commands[-1] != "y"
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "crashcart" / "vdx-patterns.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("vcs_question: ['erase all zoning']\n")
    before = here.a.shown()
    mended(here, here.again("resume"), before)


def test_a_switch_that_takes_the_command_and_does_nothing_is_not_taken_as_rebooted(lab: Labs) -> None:
    here = lab(knobs(ignore_vcs=True))
    word = failed(here.fix(reboot_timeout=24))
    assert "neither went down" in word.why and "(it said: Operation succeeded.)" in word.why
    assert here.a.vcsid == 1 and here.a.reboots == 0


def test_a_switch_that_stays_away_leaves_a_run_that_can_be_resumed(lab: Labs) -> None:
    here = lab(knobs(down=3600.0))
    before = here.a.shown()
    word = failed(here.fix(reboot_timeout=15))
    assert "not back within 15 s" in word.why and "copy:" in word.left_behind[0]
    here.a.knobs.down = 0.0
    until(lambda: here.a.stage == "ready")
    mended(here, here.again("resume"), before)


def test_a_refused_config_line_is_shown_and_left_out_on_request(lab: Labs) -> None:
    here = lab(knobs(refuse_line="mtu 9216"))
    word = finished(here.fix("leave it out"))
    assert "mtu 9216" in here.questions[0] and "%Error" in here.questions[0]
    assert word.result["left_out"] == ["interface TenGigabitEthernet 1/0/1 / mtu 9216"]
    assert not word.result["config_equals_copy"] and "1 lines of sw1 that differ" in word.then[0]
    assert "mtu 9216" in here.told()


def test_a_refused_config_line_can_stop_the_run_to_be_resumed(lab: Labs) -> None:
    here = lab(knobs(refuse_line="mtu 9216"))
    before = here.a.shown()
    word = failed(here.fix("stop"))
    assert "put back in part" in word.left_behind[0]
    here.a.knobs.refuse_line = ""
    mended(here, here.again("resume"), before)


def test_a_lost_rbridge_id_is_told_and_the_configuration_follows_it(lab: Labs) -> None:
    here = lab(b=knobs(keep_rbridge=False))
    last = here.fix(change="mate")
    word = finished(last)
    assert any("rbridge-id is 1 now, it was 2" in text for text in here.warnings())
    assert "interface TenGigabitEthernet 1/0/5\n mtu 2500\n" in here.b.shown()
    assert word.result["hostname"] == "sw2" and here.b.vcsid == 2


def test_an_idle_logout_in_the_middle_is_survived(lab: Labs) -> None:
    here = lab(knobs(refuse_line="mtu 9216"))

    def dawdle(event: object) -> None:
        if type(event).__name__ == "Asked":
            here.a.knobs.idle_logout = 0.2
            until(lambda: all(line.is_closed() for line in list(here.switches.hosts["sw1"].connections)))
            here.a.knobs.idle_logout = 0.0

    word = finished(here.fix("leave it out", when=dawdle))
    assert word.result["left_out"] and here.a.vcsid == 2
    assert any("logging in again" in line for line in here.told().splitlines())


def test_the_way_back_is_another_reboot_with_the_old_vcsid(lab: Labs) -> None:
    here = lab()
    before = here.a.shown()
    mended(here, here.fix(), before)
    assert "another reboot" in here.planned.undo
    word = finished(here.again("undo"))
    assert (here.a.vcsid, here.a.reboots) == (1, 2)
    assert here.a.shown() == before and word.result["config_equals_copy"]


def test_a_run_that_changed_nothing_has_nothing_to_take_back(lab: Labs) -> None:
    here = lab(knobs(refuse_vcs="%Error: no"))
    failed(here.fix())
    word = failed(here.again("undo"))
    assert word.refused and "changed nothing" in word.why


def test_the_per_port_way_needs_no_reboot_and_can_be_taken_back(lab: Labs) -> None:
    here = lab()
    before = (here.a.shown(), here.b.shown())
    word = finished(here.fix(method="edge-port", out_of_band=False))
    assert here.a.reboots == here.b.reboots == 0 and "nothing rebooted" in word.summary
    assert here.switches.fabric.link(here.a, 5).up and here.a.startup == here.a.running
    assert "fabric neighbor-discovery disable" in here.b.shown()
    finished(here.again("undo"))
    assert (here.a.shown(), here.b.shown()) == before


def test_a_fix_that_does_not_bring_the_link_up_offers_the_way_back_with_its_price(lab: Labs) -> None:
    here = lab()

    def cut(event: object) -> None:
        if isinstance(event, StepStarted) and event.step == "verify":
            here.b.running["interface TenGigabitEthernet 2/0/5"]["shutdown"] = None  # type: ignore[index]  # a block

    word = failed(here.fix(when=cut, stable_for=1, reboot_timeout=45))  # the reboot has as long, too
    assert "crashcart undo" in word.what_helps and "another reboot" in word.what_helps
    assert "the link is not verified" in word.left_behind[0]


def test_a_missing_password_is_asked_for_when_a_run_is_taken_up(lab: Labs) -> None:
    here = lab(knobs(refuse_line="mtu 9216"))
    before = here.a.shown()
    failed(here.fix("stop"))
    here.a.knobs.refuse_line = ""
    last = here.again("resume", here.switches.password, here.switches.password, secrets={})
    assert all("password of admin" in question for question in here.questions[-2:])
    mended(here, last, before)
    assert here.switches.password not in here.told()


def test_both_switches_are_locked_by_a_run_that_changes_one(lab: Labs) -> None:
    here = lab()
    run = here.begin()
    with lock.hold(here.params().mate_where().identity, "another-run"):
        word = failed(here.perform(run, plan=here.planned))
    assert word.refused and "another-run" in word.why and here.a.reboots == 0


def test_a_switch_that_changed_since_the_review_is_left_alone(lab: Labs) -> None:
    here = lab()
    run = here.begin()
    here.b.wwn = "10:00:00:27:f8:00:99:99"
    word = failed(here.perform(run, plan=here.planned))
    assert "sw2 has WWN 10:00:00:27:f8:00:99:99 now" in word.why and here.a.reboots == 0
    here.b.wwn = "10:00:00:27:F8:00:02:01"
    run = here.begin()
    here.a.running["snmp-server location elsewhere"] = None
    word = failed(here.perform(run, plan=here.planned))
    assert "configuration of sw1 has changed" in word.why and here.a.reboots == 0


def test_a_run_on_the_changed_switch_locks_that_switch(lab: Labs) -> None:
    from engines.vdx.fix.fix import Fix

    here = lab()
    plan = here.plan(change="mate")
    params = here.params(**{"change": plan.params["change"]})
    assert Fix().target(params) == f"vdx {params.mate_where().host}:2222"
    assert plan.target == str(params.mate_where()) and plan.confirm == "sw2"
    assert runs.every() == []
