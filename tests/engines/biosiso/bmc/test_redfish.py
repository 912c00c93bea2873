"""The Redfish client and the disc server against every BMC that does not behave."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.biosiso.bmc.insert import Insert
from engines.biosiso.bmc.redfish import until
from engines.biosiso.bmc.serve import DiscServer, span
from engines.job.contract import Cancel, Plan
from engines.job.errors import Refused
from engines.job.params import Secret, convert
from tests.engines.biosiso.bmc.redfish_board import SYSTEM, Board, job, said, within
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD, Emulator, make_certificate, secrets_pair
from tests.ports import free_port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def planned(disc: Path, port: int, *, password: str | None = PASSWORD, **more: Any) -> Plan:
    given = job(disc, port, **{"timeout": 60.0, **more}).params
    secret = {"password": Secret(password)} if password is not None else {}
    return Insert().plan(convert(Insert.params, {**given, **secret}), Cancel())


def refusal(disc: Path, port: int, **more: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        planned(disc, port, **more)
    assert refused.value.why
    assert refused.value.what_helps
    return refused.value


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_self_signed_bmc_is_refused_until_pinned_or_vouched_for(
    certificate: tuple[Path, Path, str], disc: Path, tmp_path: Path
) -> None:
    pem, key, pin = certificate
    with Emulator(tmp_path / "emulator", (pem, key)) as bmc:
        unknown = refusal(disc, bmc.port, insecure_http=False)
        assert "not trusted" in unknown.why
        assert f"sha256:{pin}" in unknown.what_helps
        spelled = "SHA256:".lower() + ":".join(pin[at : at + 2] for at in range(0, 64, 2)).upper()
        for known in ({"fingerprint": spelled}, {"fingerprint": pin}, {"ca_file": str(pem)}):
            plan = planned(disc, bmc.port, insecure_http=False, timeout=60.0, **known)
            assert any(name == "host" for name, _ in plan.facts)
            assert not any("http" in warning for warning in plan.warnings)


def test_nothing_is_sent_to_a_bmc_that_cannot_prove_itself(certificate: tuple[Path, Path, str], disc: Path) -> None:
    pem, key, pin = certificate
    with Board((pem, key)) as board:
        wrong = ("0" if pin[0] != "0" else "1") + pin[1:]
        assert pin in refusal(disc, board.port, insecure_http=False, fingerprint=wrong).why
        refusal(disc, board.port, insecure_http=False)
        assert board.asked == []
        planned(disc, board.port, insecure_http=False, fingerprint=pin)
        assert board.asked


def test_plain_http_is_only_on_demand_and_said(disc: Path, board: Board) -> None:
    assert "TLS" in refusal(disc, board.port, insecure_http=False).why
    assert board.logins == set()
    assert any("unencrypted" in warning for warning in planned(disc, board.port).warnings)


# ── boards without Redfish, boards with more than one of everything ────────────────────────────────


PAGE = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\n\r\n<html><title>ATEN International Co Ltd.</title></html>"


@pytest.mark.parametrize("status", [b"404 Not Found", b"200 OK"])
def test_a_board_of_the_x9_age_is_told_the_way_by_hand(disc: Path, board: Board, status: bytes) -> None:
    board.script["/redfish/v1/"] = PAGE % status
    helps = refusal(disc, board.port).what_helps
    for word in ("X9", "SMB", "Virtual Media > CD-ROM Image", "F11"):
        assert word in helps


def test_a_closed_port_is_told_as_such(disc: Path) -> None:
    refused = refusal(disc, free_port())
    assert "refused" in refused.why
    assert "SMB" in refused.what_helps


def test_several_hosts_or_slots_are_named_with_the_parameter(disc: Path, board: Board) -> None:
    systems = [{"@odata.id": f"/redfish/v1/Systems/{name}"} for name in ("node-a", "node-b")]
    board.script["/redfish/v1/Systems"] = (200, {"Members": systems})
    refused = refusal(disc, board.port)
    assert "node-a, node-b" in refused.why
    assert "system" in refused.what_helps
    assert "node-b" in refusal(disc, board.port, system="node-c").why
    board.script.clear()
    slots = "/redfish/v1/Managers/1/VirtualMedia"
    board.script[f"{slots}/CD2"] = (200, board.tree(f"{slots}/CD1"))
    board.script[slots] = (200, {"Members": [{"@odata.id": f"{slots}/{name}"} for name in ("CD1", "CD2")]})
    assert dict(planned(disc, board.port).facts)["slot"] == "CD1"
    assert dict(planned(disc, board.port, slot="CD2").facts)["slot"] == "CD2"
    full = {"Inserted": True, "Image": "http://10.0.0.9/other.iso", "ConnectedVia": "URI"}
    board.slot = full
    assert dict(planned(disc, board.port).facts)["slot"] == "CD2"
    board.script[f"{slots}/CD2"] = (200, board.tree(f"{slots}/CD1"))
    refused = refusal(disc, board.port)
    assert "CD1 holds http://10.0.0.9/other.iso" in refused.why and "slot" in refused.what_helps


def test_where_no_slot_can_be_filled_it_is_told_what_was_seen(disc: Path, board: Board) -> None:
    acts = {"Oem": {"#SmcVirtualMedia.Mount": {"target": "/redfish/v1/x"}}}
    board.script["/redfish/v1/Managers/1/VirtualMedia/CD1"] = (200, {"MediaTypes": ["CD"], "Actions": acts})
    assert "CD1 (media CD; actions Oem #SmcVirtualMedia.Mount)" in refusal(disc, board.port).why
    board.script["/redfish/v1/Managers/1/VirtualMedia"] = (200, {"Members": []})
    assert "/redfish/v1/Managers/1/VirtualMedia is empty" in refusal(disc, board.port).why


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_slot_that_is_listed_and_not_there_hides_no_other(disc: Path, board: Board, status: int) -> None:
    slots = "/redfish/v1/Managers/1/VirtualMedia"
    listed = [{"@odata.id": f"{slots}/{name}"} for name in ("CfgCD", "CD1")]
    board.script[slots] = (200, {"Members": listed})
    board.script[f"{slots}/CfgCD"] = (status, {})
    assert dict(planned(disc, board.port).facts)["slot"] == "CD1"
    board.script[slots] = (200, {"Members": listed[:1]})
    assert f"CfgCD (listed, and answered {status})" in refusal(disc, board.port).why


def test_what_says_nothing_hides_no_slot(disc: Path, board: Board) -> None:
    slots = "/redfish/v1/Managers/1/VirtualMedia"
    host, slot = board.tree(SYSTEM), board.tree(f"{slots}/CD1")
    board.script["/redfish/v1/Systems"] = (200, {"Members": [None, {"@odata.id": SYSTEM}, {}]})
    managers = [{}, *host["Links"]["ManagedBy"]]
    board.script[SYSTEM] = (200, {**host, "VirtualMedia": {}, "Links": {"ManagedBy": managers}})
    board.script[f"{slots}/CD1"] = (200, {**slot, "MediaTypes": [None, "CD"]})
    assert dict(planned(disc, board.port).facts)["slot"] == "CD1"
    board.script[slots] = (200, {"Members": None})
    assert f"{slots} is empty" in refusal(disc, board.port).why


def test_a_wrong_password_is_refused_before_anything_is_sent(disc: Path, board: Board) -> None:
    refused = refusal(disc, board.port, password="not the one")
    assert "password" in refused.why and "HTTP Basic" in refused.what_helps
    assert board.changes() == []


# ── answers that no BMC should give ────────────────────────────────────────────────────────────────


def drip(text: bytes) -> Callable[[Any], None]:
    def slowly(handler: Any) -> None:
        handler.wfile.write(text)
        for _ in range(4000):
            handler.wfile.write(b"a")
            time.sleep(0.05)

    return slowly


def endless(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n[")
    while True:
        handler.wfile.write(b'"x",' * 65536)


def continues(handler: Any) -> None:
    for _ in range(4000):
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
BAD: dict[str, Any] = {
    "a huge answer": endless,
    "a dripping body": drip(HEAD),
    "a dripping head": drip(b"HTTP/1.1 200 OK\r\nX: "),
    "an endless continue": continues,
    "not HTTP": b"SSH-2.0-dropbear\r\n",
    "nothing": b"",
    "not JSON": HEAD + b"<html>",
    "not UTF-8": HEAD + b'{"Systems": "\xff\xfe"}',
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
    "a list": (200, [1, 2]),
    "a wrong type": (200, {"Systems": 17}),
    "a link of a wrong type": (200, {"Systems": {"@odata.id": ["/redfish/v1/Systems"]}}),
    "no systems": (200, {"RedfishVersion": "1.0"}),
    "deep nesting": HEAD + b"[" * 100_000,
    "a redirect loop": b"HTTP/1.1 302 Found\r\nLocation: /redfish/v1/\r\nContent-Length: 0\r\n\r\n",
    "a redirect to nowhere": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "an error": (500, said("out of memory")),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_hostile_answer_is_named_in_time(disc: Path, board: Board, bad: str) -> None:
    wanted = BAD[bad]
    board.script["/redfish/v1/"] = wanted if wanted != b"" else lambda handler: None
    with within(100.0):
        refused = refusal(disc, board.port, timeout=1.5)
    assert str(board.port) in refused.why or "/redfish/v1/" in refused.why or "BMC" in refused.why
    assert board.logins <= {secrets_pair()}


@pytest.mark.parametrize("path", ["/redfish/v1/Systems", SYSTEM, "/redfish/v1/Managers/1/VirtualMedia/CD1"])
@pytest.mark.parametrize("wanted", [(200, {"Members": "all", "Boot": 1, "MediaTypes": 2}), HEAD + b"nul"])
def test_a_hostile_resource_further_in_is_named_too(disc: Path, board: Board, path: str, wanted: Any) -> None:
    board.script[path] = wanted
    assert path in refusal(disc, board.port).why


@pytest.mark.parametrize("form", ["redirect", "link", "action"])
def test_the_login_never_leaves_the_bmc(disc: Path, board: Board, form: str) -> None:
    with Board() as other:
        away = f"http://127.0.0.1:{other.port}/redfish/v1/"
        if form == "redirect":
            board.script["/redfish/v1/"] = f"HTTP/1.1 307 x\r\nLocation: {away}\r\n\r\n".encode()
        elif form == "link":
            board.script["/redfish/v1/"] = (200, {"Systems": {"@odata.id": away}})
        else:
            slot = "/redfish/v1/Managers/1/VirtualMedia/CD1"
            act = {"target": f"{away}Insert"}
            tree = {**board.tree(slot), "Actions": {"#VirtualMedia.InsertMedia": act, "#VirtualMedia.EjectMedia": act}}
            board.script[slot] = (200, tree)
        assert "leaves /redfish" in refusal(disc, board.port).why
        assert other.asked == []


def test_a_bmc_that_repeats_the_login_does_not_get_it_into_words(disc: Path, board: Board) -> None:
    board.script["/redfish/v1/Systems"] = (403, said(f"no rights for {secrets_pair()} with {PASSWORD}"))
    why = refusal(disc, board.port).why
    assert "no rights for" in why
    assert PASSWORD not in why
    assert secrets_pair().split()[1] not in why


# ── the disc server ────────────────────────────────────────────────────────────────────────────────


def fetched(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=120.0)
    line.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = line.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    line.close()
    return found


def test_the_disc_is_served_whole_and_in_parts(disc: Path) -> None:
    content, port = disc.read_bytes(), free_port()
    with DiscServer(disc, ("127.0.0.1", port), "/secret/x.iso", "abc", frozenset({"127.0.0.1"})) as server:
        assert fetched(port, "/secret/x.iso")[:2] == (200, content)
        until(lambda: server.sent, lambda sent: sent == len(content), time.sleep, 10.0)  # counted after the write
        assert server.sent == len(content)
        assert fetched(port, "/secret/x.iso", Range="bytes=2048-4095")[:2] == (206, content[2048:4096])
        assert fetched(port, "/secret/x.iso", Range="bytes=300000-")[:2] == (206, content[300000:])
        assert fetched(port, "/secret/x.iso", Range="bytes=-7")[:2] == (206, content[-7:])
        assert fetched(port, "/secret/x.iso", Range="bytes=0-1,4-5")[:2] == (200, content)
        assert fetched(port, "/secret/x.iso", Range="bytes=0-1", If_Range='"other"')[:2] == (200, content)
        assert fetched(port, "/secret/x.iso", Range=f"bytes={len(content)}-")[0] == 416
        status, body, headers = fetched(port, "/secret/x.iso", "HEAD")
        assert (status, body, headers["Content-Length"]) == (200, b"", str(len(content)))
        for path in ("/", "/x.iso", "/secret/", "/secret/../secret/x.iso", "/secret/x.iso?a"):
            assert fetched(port, path)[0] == 404


def test_a_stranger_gets_nothing(disc: Path) -> None:
    port = free_port()
    with DiscServer(disc, ("127.0.0.1", port), "/secret/x.iso", "abc", frozenset({"192.0.2.7"})) as server:
        with pytest.raises((http.client.HTTPException, OSError)):
            fetched(port, "/secret/x.iso")
        assert server.strangers == {"127.0.0.1"}
        assert server.sent == 0


@given(size=st.integers(1, 10**12), first=st.integers(0, 10**12), more=st.integers(0, 10**12))
def test_a_range_is_the_slice_that_it_names(size: int, first: int, more: int) -> None:
    header = f"bytes={first}-{first + more}"
    if first >= size:
        with pytest.raises(ValueError, match="bytes"):
            span(header, size)
        return
    assert span(header, size) == (first, min(first + more, size - 1))
    assert span(f"bytes={first}-", size) == (first, size - 1)
    assert span(f"bytes=-{more + 1}", size) == (max(0, size - more - 1), size - 1)
