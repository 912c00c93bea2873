"""How a bucket is named and reached: addresses, s3.yaml and keys, and what is refused of them."""

from __future__ import annotations

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.backup.errors import FarFailed
from engines.backup.store.s3 import access
from engines.backup.store.s3.store import open_s3
from engines.job.errors import BadParam, Refused
from tests.engines.backup.store.weed import KEY, SECRET


def key(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "keys"
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    "where",
    [
        "s3://",
        "s3://B/x",
        "s3://key:secret@vault/x",
        "s3://vault//x",
        "s3://vault/../x",
        "s3://vault/a b",
        "s3://v/x",
        "s3://vault/a+b",
        "s3://vault/a%20b",
        "s3://vault/kunden/münchen",
        "s3://vault/%2e%2e/x",
        "s3://vault/a?b",
        "s3://vault/a#b",
        "s3://vault/a\nb",
        "s3://vault/\u202egnp",
        "s3://vault/a\\b",
    ],
)
def test_an_address_that_is_none_is_refused_and_a_key_in_it_is_not_repeated(where: str) -> None:
    with pytest.raises(BadParam) as refused:
        access.parse(where)
    assert "secret" not in str(refused.value)


def write(entry: dict[str, Any]) -> None:
    path = access.access_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"vault": entry}))


def test_an_access_that_cannot_be_used_is_refused_with_what_to_write(tmp_path: Path) -> None:
    address = access.parse("s3://vault/x")
    with pytest.raises(Refused, match="nothing says how bucket vault"):
        access.load(address)
    good = {"endpoint": "https://s3.example.net", "key_file": key(tmp_path, KEY, SECRET)}
    write(good)
    assert access.load(address).region == "us-east-1"
    for wrong, said in {
        "endpoint": ("ftp://x", "has endpoint"),
        "patience": ("soon", "has patience"),
        "ca_file": ("/nowhere", "does not exist"),
        "key_file": ("", "names no key_file"),
        "path_style": ("maybe", "has path_style"),
        "colour": ("red", "not understood"),
    }.items():
        write({**good, wrong: said[0]})
        with pytest.raises(Refused, match=said[1]):
            access.load(address)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vault: {endpont: x}", "says 'endpont' of vault, which is not understood"),
        ("vault: https://s3.example.net", "it is no mapping"),
        ("- vault", "it is no mapping"),
        ("vault:\n\tendpoint: x", "line 2"),
        ("vault: {}\nvault: {}", "line 2: vault is given twice"),
        (f"vault: {'[' * 600}", "no YAML"),
        ("vault: {key_file: [KEY]}", "several of key_file"),
        ("vault:", "says nothing of bucket vault"),
        ("vault: {key_file: KEY, endpoint: 'https://a:b:c'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://h:99999'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://h:0'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://[::1'}", "has endpoint"),
        ("vault: {key_file: KEY, endpoint: 'https://h/path'}", "without a path"),
        ("vault: {key_file: KEY, endpoint: 'https://me:word@h'}", "has endpoint 'https://…@h'"),
        ('vault: {key_file: KEY, region: "a\\x1b[31m"}', "has region"),
        ("vault: {key_file: KEY, region: eu west}", "has region"),
        ("vault: {key_file: KEY, ca_file: /etc/hostname}", "no certificate to read"),
        ("vault: {key_file: KEY, endpoint: 'https://192.0.2.1', path_style: no}", "is no name"),
    ],
)
def test_what_is_written_wrong_is_named_by_the_word_or_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = access.access_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("KEY", key(tmp_path, KEY, SECRET)))
    with pytest.raises(Refused, match=re.escape(said)) as refused:
        access.load(access.parse("s3://vault/x"))
    assert "word" not in str(refused.value) and "\x1b" not in str(refused.value)


@pytest.mark.parametrize("bucket", ["yes", "123", "0123", "null", "1e5", "2026-11-30"])
def test_a_bucket_may_be_called_what_yaml_takes_for_something_else(tmp_path: Path, bucket: str) -> None:
    path = access.access_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{bucket}: {{key_file: {key(tmp_path, KEY, SECRET)}, checksum: yes, patience: 1}}")
    found = access.load(access.parse(f"s3://{bucket}/x"))
    assert found.checksum and found.patience == 1.0


@pytest.mark.parametrize(
    ("bucket", "endpoint", "asked"),
    [
        ("vault", "https://s3.example.net:9", "https://vault.s3.example.net:9"),
        ("vault", "https://vault.s3.example.net", "https://vault.s3.example.net"),
        ("vault", "", "https://vault.s3.us-east-1.amazonaws.com"),
    ],
)
def test_a_bucket_that_is_named_in_the_host_is_asked_there(
    tmp_path: Path, bucket: str, endpoint: str, asked: str
) -> None:
    write({"endpoint": endpoint, "key_file": key(tmp_path, KEY, SECRET), "path_style": "no"})
    found = access.load(access.parse(f"s3://{bucket}/x"))
    assert found.asked(bucket) == asked


@pytest.mark.parametrize(
    ("path_style", "line"),
    [("no", b"GET http://vault.s3.example.net/x/a HTTP"), ("yes", b"GET http://s3.example.net/vault/x/a HTTP")],
)
def test_what_goes_over_the_line_names_the_bucket_where_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_style: str, line: bytes
) -> None:
    """Seen by a proxy that answers nothing, as no name leads to a host here."""
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as asking:
        proxy.settimeout(120)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        given = {"endpoint": "http://s3.example.net", "plain_http": "allowed", "patience": 1}
        write({**given, "key_file": key(tmp_path, KEY, SECRET), "path_style": path_style})
        asked = asking.submit(open_s3("s3://vault/x").read, "a")
        here, _ = proxy.accept()
        with here:
            assert here.makefile("rb").readline().startswith(line)
        proxy.close()
        assert isinstance(asked.exception(), FarFailed)


@pytest.mark.parametrize("endpoint", ["http://s3.example.net", "http://10.0.0.1:9000", "http://localhost.example.net"])
def test_a_line_that_is_not_encrypted_is_refused_unless_it_ends_here_or_is_asked_for(
    endpoint: str, tmp_path: Path
) -> None:
    entry = {"endpoint": endpoint, "key_file": key(tmp_path, KEY, SECRET)}
    write(entry)
    with pytest.raises(Refused, match="not encrypted"):
        access.load(access.parse("s3://vault/x"))
    write({**entry, "plain_http": "allowed"})
    assert access.load(access.parse("s3://vault/x")).plain
    for here in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"):
        write({**entry, "endpoint": here})
        assert access.load(access.parse("s3://vault/x")).plain


def test_keys_are_read_from_a_file_of_mode_0600_only_and_never_shown(tmp_path: Path) -> None:
    path = Path(key(tmp_path, KEY, SECRET))
    write({"endpoint": "https://s3.example.net", "key_file": str(path)})
    path.chmod(0o640)
    with pytest.raises(Refused, match="others can read"):
        access.load(access.parse("s3://vault/x"))
    path.chmod(0o600)
    found = access.load(access.parse("s3://vault/x"))
    assert found.key.secret.reveal() == SECRET and SECRET not in repr(found)
    for text in (KEY, f"{KEY}\n{SECRET}\na\nb", f"aws_access_key_id = {KEY}\nsecret = {SECRET}", f"{KEY}ä\n{SECRET}"):
        path.write_text(text)
        with pytest.raises(Refused, match="no key to read") as refused:
            access.load(access.parse("s3://vault/x"))
        assert SECRET not in str(refused.value)
    path.unlink()
    os.mkfifo(path, 0o600)  # is not waited for
    with pytest.raises(Refused, match="no key to read"):
        access.load(access.parse("s3://vault/x"))
