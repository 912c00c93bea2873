"""No secret of a switch's configuration is shown or kept, however it is written."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.job.params import Secret
from engines.vdx.line.transcript import HIDDEN, LONGEST, Transcript, redacted
from tests.fuzz.mutation import with_an_end


@pytest.mark.parametrize(
    "line",
    [
        'username admin password "hunter2==" encryption-level 7',
        "snmp-server community hunter2 ro",
        "copy running-config scp://bob:hunter2@10.0.0.1/x",
        "radius-server key hunter2",
        "enable secret 5 hunter2",
        "enable password level 15 hunter2",
        "enable password level 15 7 hunter2",
        "ntp authentication-key 33 md5 hunter2",
        "ntp authentication-key 33 sha1 hunter2 encryption-level 7",
        "ntp authentication-key 33 hunter2",
        "ip ospf authentication-key 0 hunter2",
        " ip vrrp auth-type simple-text-auth hunter2",
        "  auth-type simple-text-auth 2 hunter2",
        "ldap-server host 10.0.0.1 bindpw hunter2 port 389",
        "ldap bindpw: hunter2",
        "crypto key passphrase hunter2",
        'certutil import passphrase "two hunter2 words"',
        "snmp-server user u auth md5 hunter2",
        "snmp-server user u groupname g auth sha auth-password x priv AES128 priv-password hunter2",
        "snmp-server user u auth md5 encrypted hunter2",
        "snmp-server host 10.0.0.1 version 2c hunter2",
        "snmp-server host 10.0.0.1 hunter2 severity-level Info",
        "snmp-server community 7 hunter2 ro",
        "ip ospf message-digest-key 1 md5 7 hunter2",
        "ip ospf md5-authentication 0 key hunter2",
        "keychain x key 1 key-string hunter2",
        "ip rip authentication string hunter2",
        "vrrp 1 authentication text hunter2",
        "standby 1 authentication hunter2",
        "bfd auth keyed-md5 hunter2",
        "ntp authentication-key 1 sha hunter2 encryption-level 0",
        "enable secret sha512 hunter2",
        "tacacs-server key: hunter2",
        "password: hunter2",
        "password=hunter2",
        "user bob pwd hunter2",
        "wpa-psk ascii 0 hunter2",
        "firmware download scp host 1.1.1.1 user bob pass hunter2",
        "username x password 7 'a hunter2'",
        "copy scp://bob:p@hunter2@1.1.1.1/x running-config",
        "Authorization: Bearer hunter2",
        "set password 1234hunter2 file x",
        "ntp authentication-key 100 md5 hunter2 encryption-level 0",
        "ntp authentication-key 65535 sha1 hunter2",
        "ntp authentication-key 255 hunter2",
        "ntp authentication-key 100 7 hunter2",
        "ntp authentication-key 100 encryption-level 7 hunter2",
        'ntp authentication-key 255 "two hunter2"',
        "key 100 hunter2",
        "key 12345 token hunter2",
        "key 12345 authentication-key hunter2",
        "key-string 100 hunter2",
        "bfd md5-auth key 123 hunter2",
        "ip ospf md5-authentication 12345 hunter2",
        "ip ospf message-digest-key 255 md5 7 hunter2",
    ],
)
def test_what_config_lines_keep_secret_is_hidden(line: str) -> None:
    assert "hunter2" not in redacted(line) and HIDDEN in redacted(line)


@pytest.mark.parametrize("secret", ["100", "12345", "1234567"])
@pytest.mark.parametrize(
    "line",
    [
        "radius-server host 10.0.0.1 key {} protocol chap",
        "tacacs-server key {} encryption-level 7",
        "enable secret {}",
        "username x password {} md5",
    ],
)
def test_a_secret_of_digits_alone_is_hidden(line: str, secret: str) -> None:
    said = redacted(line.format(secret))
    assert secret not in said.replace("10.0.0.1", "") and HIDDEN in said


@pytest.mark.parametrize(
    "line",
    ["crypto key generate rsa", "The password is wrong", "interface TenGigabitEthernet 1/0/5", "key:", "password"],
)
def test_what_is_no_secret_is_shown(line: str) -> None:
    assert redacted(line) == line


@pytest.mark.parametrize(
    "piece",
    ["a://b:", "key ", "user x ", "password 1 ", 'secret "', "snmp-server host ", "authentication ", "key 100 "],
)
def test_a_line_that_looks_like_secrets_all_over_is_read_in_bounded_work(piece: str) -> None:
    with with_an_end():
        redacted(piece * (LONGEST // len(piece)))


@given(st.text(string.ascii_letters + string.digits, min_size=6, max_size=20), st.integers(1, 7))
def test_a_secret_is_never_in_a_transcript_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, secret: str, size: int
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.log"
    transcript = Transcript(path)
    transcript.hide(Secret(secret))
    said = f"echo {secret} and {secret}\r\nnext\r\n{secret}"
    for at in range(0, len(said), size):
        transcript.write(said[at : at + size])
        transcript.flush()
    transcript.close()
    assert secret not in path.read_text() and path.read_text().count(HIDDEN) == 3
