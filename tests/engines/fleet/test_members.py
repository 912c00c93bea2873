"""What a member of a cluster lets in, without TLS nobody from another machine, and a scheduler that stands still."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

import engines
from engines.fleet.commands import papers
from engines.fleet.config.load import load
from engines.fleet.spread import certificates
from engines.job.errors import Refused
from tests.absent import absent
from tests.engines.backup import lab
from tests.engines.fleet.cluster import AS_NOBODY, COMES_WITHIN, ROOT, Cluster
from tests.ports import free_port

FLEET = """
hosts: {here: {ssh: local}}
repositories: {near: {url: /near}}
policies: {gold: {to: [near]}}
guests: [{match: all, policy: gold}]
"""
NOBODY = "ssh: local, find: [{lvm: '(?P<vm>no)(?P<disk>thing)'}]"


def alone(folder: Path) -> str:
    """A fleet that has no guest."""
    return (
        f"{FLEET.replace('/near', lab.init(folder / 'repo')).replace('ssh: local', NOBODY)}ledger: '{folder}/ledger'\n"
    )


# Prints what becomes of work that no worker takes, handed out before the scheduler stands still, and after.
HANDS_OUT = """
import sys
from pathlib import Path
from engines.fleet.config.load import load
from engines.fleet.spread.line import Line
with Line(load(Path(sys.argv[1])), silent=1.0) as line:
    line.hand(len, "", ["what nobody has"], 0.0, lambda undone: print("before:", undone.why, flush=True))
    print("handed", flush=True)
    sys.stdin.readline()
    line.look()
    line.hand(len, "", [], 0.0, lambda undone: print("after:", undone.why, flush=True))
    print("workers:", line.workers(), flush=True)
"""


# The command line on a machine that has no Dask.
WITHOUT_DASK = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "distributed" else found(name, *rest)
sys.modules["distributed"] = sys.modules["dask"] = None
from engines.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Without TLS."""
    folder = tmp_path_factory.mktemp("members")
    with Cluster(folder, folder / "fleet.yaml") as made:
        made.config.write_text(f"{FLEET}cluster: {{scheduler: 'tcp://127.0.0.1:{made.port}'}}\n")
        yield made


def test_without_tls_scheduler_and_workers_listen_on_loopback_alone(cluster: Cluster) -> None:
    stranger = cluster.run("fleet", "worker", "--only", "far", "--fleet", str(cluster.config))
    assert stranger.returncode == 2 and "allowed is one of near" in stranger.stderr, stranger
    worker = cluster.worker("w1")
    worker.heard(f"tcp://127.0.0.1:{cluster.port} cannot be joined yet")
    members = [cluster.scheduler(), worker]
    worker.heard("worker w1 is at")
    for member in members:
        made = psutil.Process(member.pid).net_connections("tcp")
        listening = [each.laddr.ip for each in made if each.status == psutil.CONN_LISTEN]
        assert listening and all(ipaddress.ip_address(ip).is_loopback for ip in listening), listening
    cluster.kill("w1")


def test_work_comes_back_from_a_scheduler_that_stands_still(cluster: Cluster) -> None:
    root = () if os.geteuid() else AS_NOBODY
    argv = [*root, sys.executable, "-P", "-c", HANDS_OUT, str(cluster.config)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=cluster.env) as made:
        assert made.stdout
        assert made.stdout.readline() == "handed\n"
        cluster.members["scheduler"].stop()
        said, _ = made.communicate("\n", COMES_WITHIN)
    still = f"the cluster tcp://127.0.0.1:{cluster.port} stands still"
    assert said.splitlines() == [
        f"before: {still}",
        f"after: the cluster tcp://127.0.0.1:{cluster.port} takes nothing: {still}",
        "workers: 0",
    ]


GOOD = {"ca.pem": "", "cert.pem": "", "key.pem": ""}


def test_a_certificate_is_told_before_it_ends_and_made_anew(tmp_path: Path) -> None:
    into = tmp_path / "authority"
    paper = Path(engines.look("fleet", "certificate", name="c1", into=str(into), days=20))
    config = tmp_path / "fleet.yaml"
    config.write_text(f"{alone(tmp_path)}cluster: {{scheduler: 'tls://127.0.0.1:{free_port()}', tls: '{paper}'}}\n")
    fleet = load(config)

    def told() -> dict[str, str]:
        return {Path(what).name: why for what, _, why in papers.joining(fleet) if what.endswith(".pem")}

    assert told() == GOOD  # a short one is told in the last third of its life
    before = (paper / "key.pem").read_bytes()
    again = {"name": "c1", "into": str(into), "renew": True}
    engines.look("fleet", "certificate", **again, days=1)
    begins, ends = certificates.lasts(paper / "cert.pem")
    assert (ends - begins).days == 2 and (paper / "key.pem").read_bytes() != before
    _sign(into, paper, -3)
    assert told()["cert.pem"].startswith("it ended 3 days ago, and nobody lets it join: crashcart fleet certificate")
    _sign(into, paper, 25, since=100)
    assert told()["cert.pem"].startswith("make another before it ends, in 25 days")
    engines.look("fleet", "certificate", **again)
    assert told() == GOOD
    (paper / "cert.pem").write_text("no certificate")
    assert told()["cert.pem"]
    with pytest.raises(Refused, match="has no certificate"):
        engines.look("fleet", "certificate", name="c2", into=str(into), renew=True)
    with pytest.raises(Refused, match="is there already"):
        engines.look("fleet", "certificate", name="c1", into=str(into))


@pytest.mark.parametrize("of", ["c2", "another"])
def test_papers_that_do_not_belong_together_are_told(of: str, tmp_path: Path) -> None:
    """As a copy that was cut short leaves them."""
    mine, other = certificates.issue(tmp_path / "a", "c1"), certificates.issue(tmp_path / "a", "c2")
    if of == "another":
        other = certificates.issue(tmp_path / of, "c1")
        (mine / "key.pem").write_bytes((other / "key.pem").read_bytes())
    (mine / "cert.pem").write_bytes((other / "cert.pem").read_bytes())
    assert not certificates.mixed(other)
    assert ("another authority" if of == "another" else "key of another") in certificates.mixed(mine)


NAMES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "ctypes.dlsym")


def renewed(place: Path, moment: int) -> int:
    """How a process ended that renews, and is killed before so many-th call that changes a name or whose it is."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(60)  # a lock that another thread held at the fork would stand for ever
    left = moment

    def count(name: str, _: object) -> None:
        nonlocal left
        if name in NAMES:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        certificates.renew(place.parent, place.name)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_renewal_that_is_killed_at_any_moment_leaves_papers_of_one_making(tmp_path: Path) -> None:
    place = certificates.issue(tmp_path / "a", "c1")
    (place / "note").write_text("whose it is")
    keys = {(place / "key.pem").read_bytes()}
    for moment in range(100):
        ended = renewed(place, moment)
        assert not certificates.mixed(place)
        keys.add((place / "key.pem").read_bytes())
        if ended == 0:
            break
    assert ended == 0 and moment > 8 and len(keys) > 3  # killed before the exchange, and after it
    assert {each.name for each in place.iterdir()} == {*certificates.PAPERS, "note"}
    assert {each.name for each in place.parent.iterdir()} == {"c1", "issued", *certificates.AUTHORITY}


def _sign(into: Path, paper: Path, days: int, since: int = 10) -> None:
    """A certificate that ends in so many days, or did."""
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "c1")]))
        .issuer_name(x509.load_pem_x509_certificate((into / "ca.pem").read_bytes()).subject)
        .public_key(load_pem_private_key((paper / "key.pem").read_bytes(), None).public_key())  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=since))
        .not_valid_after(datetime.now(UTC) + timedelta(days=days, minutes=10 if days > 0 else -10))
        .sign(load_pem_private_key((into / "ca-key.pem").read_bytes(), None), hashes.SHA256())  # type: ignore[arg-type]
    )
    (paper / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))


def test_without_dask_a_controller_says_what_it_lacks_and_works_alone(tmp_path: Path) -> None:
    """Its modules are hidden, as on a machine that has none."""
    config = tmp_path / "fleet.yaml"
    config.write_text(f"{alone(tmp_path)}cluster: {{scheduler: 'tcp://127.0.0.1:{free_port()}'}}\n")
    root = () if os.geteuid() else AS_NOBODY
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path / "state")}

    def said(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [*root, sys.executable, "-P", "-c", WITHOUT_DASK, "fleet", *words, "--fleet", str(config)]
        return subprocess.run(argv, capture_output=True, text=True, env=env, timeout=COMES_WITHIN)

    if subprocess.run([*AS_NOBODY, "true"], capture_output=True).returncode:
        absent("user namespaces, in which a test of root is not root")
    worker = said("worker")
    assert worker.returncode == 3 and "a cluster needs Dask, which is not installed" in worker.stderr, worker
    assert "pip install 'crashcart[fleet]'" in worker.stderr
    ran = said("run", "--json")
    assert ran.returncode == 4, ran
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert any("needs Dask" in event.get("text", "") and "from here" in event["text"] for event in events), events
    (jobs,) = [event["result"]["jobs"] for event in events if "result" in event]
    assert jobs == {"done": 2}


def test_a_controller_that_may_join_no_cluster_does_its_round_alone_and_says_so(tmp_path: Path) -> None:
    if os.geteuid():
        absent("root, who joins no cluster")
    config = tmp_path / "fleet.yaml"
    config.write_text(f"{alone(tmp_path)}cluster: {{scheduler: 'tcp://127.0.0.1:{free_port()}'}}\n")
    ended = engines.run("fleet", fleet=str(config))
    assert ended.status == "warned" and ended.result.jobs == {"done": 2}, ended
    assert any("root does not join a cluster" in text and "from here" in text for text in ended.warnings), ended
    (found,) = (each for each in engines.look("fleet", "check", fleet=str(config)) if each.what.startswith("cluster"))
    assert "root does not join a cluster" in found.why
