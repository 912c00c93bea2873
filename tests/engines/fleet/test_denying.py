"""A member that is lost is let in by nobody any more: not by the scheduler, nor by a worker, nor while they run."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import engines
from engines.fleet.commands import papers
from engines.fleet.config.load import load
from engines.fleet.spread import certificates, denying
from engines.fleet.spread.security import unfit_papers
from engines.job.errors import Refused
from tests.engines.fleet.cluster import COMES_WITHIN, Cluster, wait
from tests.engines.fleet.test_members import FLEET

LIST = denying.DENIED


def opened(address: str, paper: Path) -> ssl.SSLSocket:
    """A member's connection, by its papers."""
    place = urlsplit(address)
    context = ssl.create_default_context(cafile=paper / "ca.pem")
    context.check_hostname = False
    context.load_cert_chain(paper / "cert.pem", paper / "key.pem")
    return context.wrap_socket(socket.create_connection((place.hostname, place.port), COMES_WITHIN))


def shaken(address: str, paper: Path) -> str:
    """What becomes of who shows a member's papers there: empty where it is let in."""
    try:
        with opened(address, paper) as connection:
            return "" if connection.recv(1) else "closed"  # TLS 1.3 refuses a member behind its own handshake
    except ssl.SSLError as error:
        return error.reason or "?"
    except OSError as error:  # it has not begun anew yet
        return str(error)


def test_a_member_that_is_denied_is_cut_off_while_all_runs_and_let_in_by_other_papers(tmp_path: Path) -> None:
    with Cluster(tmp_path, tmp_path / "fleet.yaml") as cluster:
        lost, good = certificates.issue(cluster.folder, "lost"), cluster.folder / "member"
        cluster.config.write_text(f"{FLEET}{cluster.yaml}")
        scheduler = cluster.scheduler()
        worker = cluster.worker("good")
        worker.heard("worker good is at")

        def met(paper: Path) -> list[str]:
            """At the scheduler, and at the worker, who listens too."""
            said = [line for line in worker.said if "worker good is at" in line][-1]
            return [shaken(f"tls://127.0.0.1:{cluster.port}", paper), shaken(said.rpartition(" ")[2], paper)]

        assert met(lost) == met(good) == ["", ""]
        with opened(f"tls://127.0.0.1:{cluster.port}", lost) as before:
            assert before.recv(1)
            engines.look("fleet", "certificate", name="lost", into=str(cluster.folder), deny=True)
            with suppress(OSError):
                while before.recv(4096):  # until the scheduler lets go of it
                    pass
        scheduler.heard("all members join anew by them")
        wait(lambda: all("REVOKED" in each for each in met(lost)))
        wait(lambda: met(good) == ["", ""])
        certificates.renew(cluster.folder, "lost")
        wait(lambda: met(lost) == ["", ""])


def test_all_certificates_of_a_member_are_denied_those_that_were_renewed_too(tmp_path: Path) -> None:
    lost, other = certificates.issue(tmp_path / "a", "lost"), certificates.issue(tmp_path / "a", "other")
    certificates.renew(tmp_path / "a", "lost")
    said = engines.look("fleet", "certificate", name="lost", into=str(tmp_path / "a"), deny=True)
    assert said == str(tmp_path / "a" / LIST)
    assert {(place / LIST).read_bytes() for place in (lost, other, tmp_path / "a")} == {Path(said).read_bytes()}
    assert denying.count(other) == 2 and not denying.unfit(other)
    (lost / "cert.pem").unlink()  # the machine is gone, and its folder too: the authority knows it all the same
    certificates.deny(tmp_path / "a", "lost")
    certificates.deny(tmp_path / "a", "other")
    assert denying.count(tmp_path / "a") == 3
    later = certificates.issue(tmp_path / "a", "later")
    assert (later / LIST).read_bytes() == Path(said).read_bytes() and (later / LIST).stat().st_mode & 0o777 == 0o644
    with pytest.raises(Refused, match="has made no certificate for nobody"):
        certificates.deny(tmp_path / "a", "nobody")
    with pytest.raises(Refused, match="no such folder"):
        certificates.deny(tmp_path / "b", "lost")


@pytest.mark.parametrize("how", ["another authority", "cannot be read"])
def test_a_list_that_holds_nobody_off_keeps_its_member_out_and_is_told(how: str, tmp_path: Path) -> None:
    mine = certificates.issue(tmp_path / "a", "c1")
    certificates.issue(tmp_path / "a", "lost")
    certificates.deny(tmp_path / "a", "lost")
    config = tmp_path / "fleet.yaml"
    config.write_text(f"{FLEET}cluster: {{scheduler: 'tls://127.0.0.1:8786', tls: '{mine}'}}\n")

    def told() -> tuple[str, str]:
        return next((found, why) for what, found, why in papers.joining(load(config)) if what == str(mine / LIST))

    assert told() == ("1 certificates are let in no more", "")
    unfit_papers(mine)
    if how == "another authority":
        certificates.issue(tmp_path / "b", "lost")
        (mine / LIST).write_bytes(certificates.deny(tmp_path / "b", "lost").read_bytes())
    else:
        (mine / LIST).write_text("-----BEGIN X509 CRL-----\nxx")
    assert how in " ".join(told())
    with pytest.raises(Refused, match=f"{LIST} (is of|cannot be)"):
        unfit_papers(mine)
