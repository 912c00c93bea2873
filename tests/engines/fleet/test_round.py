"""A round backs up every guest whose turn it is over real ssh, cares for the repository, and says what it could not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import engines
from engines.fleet.ledger.ledger import Ledger
from tests.engines.fleet.cluster import wait
from tests.engines.fleet.lab import ROOT, Fleet, fleet


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        with fleet(folder, [[(1, "web1"), (2, "web2")], [(3, "db1")]]) as made:
            yield made


def made(lab: Fleet) -> list[str]:
    return [point.split("@")[0] for point in lab.points()]


def test_a_round_backs_up_every_guest_and_cares_for_the_repository(lab: Fleet) -> None:
    planned = engines.look("fleet", "plan", fleet=str(lab.path))
    assert sorted((row.name, row.why) for row in planned.rows) == [
        (name, "it has no backup yet") for name in ("db1", "web1", "web2")
    ]
    ended = engines.run("fleet", fleet=str(lab.path))
    assert ended.ok and ended.warnings == (), ended
    assert ended.result.jobs == {"done": 6}, ended.result  # three backups, prune, gc, verify
    assert made(lab) == ["db1/vda", "web1/vda", "web2/vda"]
    again = engines.run("fleet", fleet=str(lab.path), only="*")
    assert again.ok and again.result.jobs == {} and len(made(lab)) == 3
    with Ledger(lab.ledger) as ledger:
        jobs = ledger.jobs("kind = 'backup'")
    assert {(job.vm, job.host, job.state) for job in jobs} == {
        ("web1", "hv1", "done"), ("web2", "hv1", "done"), ("db1", "hv2", "done"),
    }  # fmt: skip
    assert all(job.run and job.points and job.read and job.stored for job in jobs)


def test_a_guest_that_was_renamed_and_moved_goes_on_under_its_name(lab: Fleet) -> None:
    first, second = lab.hosts
    first.define([(1, "web1")])
    second.define([(3, "db1"), (2, "shop")])
    lab.write()
    ended = engines.run("fleet", fleet=str(lab.path), only="shop", now=True)
    assert ended.ok and ended.result.jobs == {"done": 1}, ended
    assert made(lab) == ["db1/vda", "web1/vda", "web2/vda", "web2/vda"]
    with Ledger(lab.ledger) as ledger:
        assert {(one.name, one.vm, one.host, one.gone) for one in ledger.guests()} >= {("shop", "web2", "hv2", None)}


def test_a_lost_ledger_is_made_anew_by_the_tags_of_points(lab: Fleet) -> None:
    lost = lab.folder / "lost.yaml"
    lost.write_text(lab.path.read_text().replace(str(lab.ledger), str(lab.folder / "new.sqlite")))
    stand = engines.look("fleet", "status", fleet=str(lost))
    assert {(row.name, row.vm, row.light) for row in stand.rows} == {
        (name, vm, "good") for name, vm in (("web1", "web1"), ("shop", "web2"), ("db1", "db1"))
    }
    planned = engines.look("fleet", "plan", fleet=str(lost))
    assert {row.why for row in planned.rows} == {"its time of the round"}


def test_a_host_that_is_gone_is_told_and_the_others_go_on(lab: Fleet) -> None:
    first, second = lab.hosts
    first.define([(1, "web1")])
    second.define([(3, "db1"), (2, "shop")])
    lab.write()
    first.sshd.stop()
    try:
        found = engines.look("fleet", "check", fleet=str(lab.path))
        assert [each.what for each in found if each.why] == ["host hv1"]
        listed = engines.look("fleet", "guests", fleet=str(lab.path))
        assert list(listed.silent) == ["hv1"] and listed.gone == []
        assert {one.guest.name for one in listed.guests} == {"db1", "shop"}
        ended = engines.run("fleet", fleet=str(lab.path), only="db*", now=True)
        assert ended.status == "warned" and ended.result.jobs == {"done": 1}
        assert any("host hv1 was not seen" in text for text in ended.warnings)
        measured = engines.look("fleet", "metrics", fleet=str(lab.path))  # asks no host, and knows it all the same
        assert 'crashcart_host_silent{host="hv1"} 1.0' in measured.text
        assert 'crashcart_host_silent{host="hv2"} 0.0' in measured.text
    finally:
        first.sshd.start()
    found = engines.look("fleet", "check", fleet=str(lab.path))
    assert all(not each.why for each in found), found
    assert {each.what for each in found} >= {"host hv1, key", "host hv2, clock", "repository near from hv1",
                                             "repository near from controller"}  # fmt: skip


def test_a_guest_whose_disk_is_gone_is_tried_again_later_and_told(lab: Fleet) -> None:
    image = lab.hosts[0].images / "1.img"
    aside = image.rename(image.with_suffix(".aside"))
    lab.write(policy="{to: [near], every: day, retries: 0}")
    try:
        ended = engines.run("fleet", fleet=str(lab.path), only="web1", now=True)
    finally:
        aside.rename(image)
        lab.write()
    assert ended.status == "warned" and ended.result.jobs == {"failed": 1}
    assert any("1.img does not exist" in text for text in ended.warnings), ended.warnings


def test_serve_does_a_round_when_one_is_due_and_leaves_when_it_is_told(lab: Fleet) -> None:
    before = len(made(lab))
    lab.hosts[0].define([(1, "web1"), (4, "new1")])
    lab.write()
    argv = [sys.executable, "-P", "-m", "engines.cli", "fleet", "serve", "--fleet", str(lab.path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    assert process.stderr is not None
    with process.stderr:
        line = process.stderr.readline().decode()  # one round is done
        process.send_signal(signal.SIGINT)
        assert process.wait(600) == 130
    assert line.startswith("done: ") or line.startswith("warned: "), line
    assert "new1/vda" in made(lab) and len(made(lab)) == before + 1


def test_serve_that_is_ended_in_mid_round_leaves_a_job_that_the_next_round_takes_up(lab: Fleet) -> None:
    """Wherever it stood when it was ended, there is one point of the guest, and one job that is done."""
    lab.hosts[0].define([(1, "web1"), (5, "new2")])
    lab.write()
    argv = [sys.executable, "-P", "-m", "engines.cli", "fleet", "serve", "--fleet", str(lab.path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)

    def job() -> list[str]:
        with Ledger(lab.ledger) as ledger:
            return [job.state for job in ledger.jobs("kind = 'backup' and vm = 'new2'")]

    try:
        wait(lambda: job() not in ([], ["waiting"]) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) in (130, -signal.SIGTERM)
    finally:
        process.kill()
    engines.run("fleet", fleet=str(lab.path), only="new2")
    assert job() == ["done"] and made(lab).count("new2/vda") == 1
