"""The fix on switches as they stand in the field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.job.contract import StepStarted
from tests.engines.vdx.conftest import Lab, failed, finished, knobs, mended

Labs = Callable[..., Lab]


def test_port_channels_a_ve_and_the_virtual_address_come_back(lab: Labs) -> None:
    here = lab(knobs(logical=True, virtual_ip=True), knobs(logical=True, virtual_ip=True))
    before = here.a.shown()
    assert "interface Ve 50" in before and "vcs virtual ip address 10.24.81.101/24" in before
    word = mended(here, here.fix(), before)
    assert word.result["left_out"] == [] and here.questions == []


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"refuse_vcs": "VCS ID cannot be changed while zoning transactions are open"}, "zoning transactions"),
        ({"refuse_vcs": "Please leave the cluster first"}, "leave the cluster first"),
        ({"refuse_vcs": "%Error: Permission denied"}, "Permission denied"),
        ({"after_y": "Operation aborted: the fabric is busy."}, "the fabric is busy"),
        ({"after_y": "Mumble mumble."}, "Mumble mumble"),
        ({"question": "This will reboot the switch. Type the word to go on>"}, "Type the word to go on>"),
        ({"question": "Reboot? Press Enter to confirm:"}, "Press Enter to confirm:"),
    ],
)
def test_a_refusal_in_any_words_and_an_unknown_question_stop_at_once(
    lab: Labs, trouble: dict[str, str], words: str
) -> None:
    here = lab(knobs(**trouble))
    before = here.a.shown()
    word = failed(here.fix(reboot_timeout=7200))
    assert words in word.why and here.a.shown() == before and here.a.reboots == 0
    assert not any(isinstance(event, StepStarted) and event.step == "wait" for event in here.events())
    assert bool(word.left_behind) == ("Mumble" in words)


def test_the_per_port_way_on_two_switches_of_one_name_reaches_both_and_is_taken_back(lab: Labs) -> None:
    here = lab(names=("sw0", "sw0"))
    before = (here.a.shown(), here.b.shown())
    finished(here.fix(method="edge-port", out_of_band=False))
    assert all("neighbor-discovery disable" in switch.shown() for switch in (here.a, here.b))
    finished(here.again("undo"))
    assert (here.a.shown(), here.b.shown()) == before


def test_a_console_that_asks_otherwise_is_logged_in_to(lab: Labs) -> None:
    here = lab(knobs(console_asks="User Name:"))
    before = here.a.shown()
    here.switches.call(here.switches.hosts["sw1"].enter("down"))
    mended(here, here.fix(console=here.switches.console(here.a), out_of_band=False), before)


def test_a_configuration_that_is_not_saved_is_told_in_the_switchs_words(lab: Labs) -> None:
    here = lab(knobs(after_save="Copy failed: flash is full"))
    word = failed(here.fix(method="edge-port", out_of_band=False))
    assert "does not save its configuration (Copy failed: flash is full)" in word.why


def test_an_account_that_is_shut_after_the_reboot_is_tried_once(lab: Labs) -> None:
    here = lab(knobs(shut_after="Your account has expired; please contact your administrator"))
    word = failed(here.fix())
    assert "Your account has expired" in word.why and "unlock the account" in word.what_helps
    told = (here.run.folder / "transcript-switch.log").read_text()  # type: ignore[union-attr]  # it ran
    assert told.count("Your account has expired") == 1 and "told to reboot" in word.left_behind[0]


def test_a_switch_that_is_full_and_never_went_down_is_not_taken_for_rebooted(lab: Labs, tmp_path: Path) -> None:
    here = lab(knobs(ignore_vcs=True))
    host, port = here.switches.address(here.a).split(":")
    config = tmp_path / "config"
    config.write_text(f"Host core\n  HostName {host}\n  Port {port}\n")

    def full(event: object) -> None:
        if "still up" in getattr(event, "text", ""):
            here.a.knobs.shut = "Too many logins for 'admin'."
        elif here.a.knobs.shut and here.a.knobs.shut in here.told():
            here.a.knobs.shut = ""

    word = failed(here.fix(when=full, switch="core", ssh_config=str(config), reboot_timeout=36))
    assert "neither went down" in word.why and "Too many logins" in here.told()
