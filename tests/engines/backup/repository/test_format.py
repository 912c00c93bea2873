"""What a repository holds is read by FORMAT.md alone: nothing of the engine is imported to read it."""

from __future__ import annotations

import json
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from xxhash import xxh3_64_intdigest as xxh3
from zstandard import ZstdDecompressor

from engines.job.params import Secret
from tests.engines.backup import lab

ZERO = bytes(32)
WORDS = {1: b"block", 2: b"map", 3: b"point"}
Read = Callable[[str], bytes]


def compact(fields: dict[str, Any], *without: str) -> bytes:
    left = {name: value for name, value in fields.items() if name not in without}
    return json.dumps(left, sort_keys=True, separators=(",", ":")).encode()


def secret(config: dict[str, Any], key_file: bytes, passphrase: str) -> bytes:
    """From config.json by whichever of the two opens it."""
    if config["cipher"] == "none":
        return bytes.fromhex(config["secret"])
    lasting = compact(config, "format", "check", "ways")
    ways = [(way, way["kind"], lasting + compact(way, "wrapped")) for way in config.get("ways", ())]
    for way, kind, said in ways or [(config, config["kdf"], compact(config, "wrapped", "check"))]:
        if kind == "key-file":
            key = blake3(key_file, derive_key_context="crashcart backup 1 key file").digest()
        else:
            salt = bytes.fromhex(way["salt"])
            key = Scrypt(salt=salt, length=32, n=way["n"], r=way["r"], p=way["p"]).derive(passphrase.encode())
        wrapped = bytes.fromhex(way["wrapped"])
        try:
            return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], said)
        except InvalidTag:
            continue
    raise AssertionError("nothing opens it")


class Reader:
    """One repository, through `read`, which gives the bytes of a file by its name."""

    def __init__(self, names: list[str], read: Read, key_file: bytes, passphrase: str) -> None:
        self.names, self.read = names, read
        raw = read("config.json")
        config = json.loads(raw)
        assert raw == (json.dumps(config, sort_keys=True, indent=1) + "\n").encode()
        assert blake3(compact(config, "check")).hexdigest() == config["check"]
        known = secret(config, key_file, passphrase)
        self.identity = blake3(known, derive_key_context="crashcart backup 1 identity").digest()
        self.data = blake3(known, derive_key_context="crashcart backup 1 data").digest()
        self.repository = bytes.fromhex(config["id"])
        self.places: dict[bytes, tuple[int, bytes]] = {}
        for name in names:
            if name.endswith(".pack"):
                self.pack(read(name))

    def pack(self, raw: bytes) -> None:
        assert raw[:8] == b"CCPACK\0\1" and raw[8:24] == self.repository
        magic, count, _, at, sum_of_footer, sum_of_trailer = struct.unpack("<8sIIQQQ", raw[-40:])
        assert magic == b"CCPEND\0\1" and xxh3(raw[-40:-8]) == sum_of_trailer and xxh3(raw[at:-40]) == sum_of_footer
        for number in range(count):
            name, offset, payload, _, kind = struct.unpack("<32sIIIB3x", raw[at + 48 * number :][:48])
            self.places[name] = kind, raw[offset : offset + 64 + payload]

    def record(self, raw: bytes, wanted: int) -> bytes:
        magic, kind, codec, cipher, length, payload, name = struct.unpack("<4s3Bx2I32s", raw[:48])
        assert (magic, kind) == (b"ccr1", wanted) and len(raw) == 64 + payload
        assert struct.unpack("<2Q", raw[48:64]) == (xxh3(raw[64:]), xxh3(raw[:56]))
        content = raw[64:]
        if cipher:
            opens = (AESGCM if cipher == 1 else ChaCha20Poly1305)(self.data)
            content = opens.decrypt(content[:12], content[12:], raw[:12] + bytes(4) + raw[16:48])
        if codec:
            content = ZstdDecompressor().decompress(content)
        assert len(content) == length and blake3(WORDS[kind] + b"\0" + content, key=self.identity).digest() == name
        return content

    def stored(self, name: bytes, kind: int) -> bytes:
        return self.record(self.places[name][1], kind)

    def points(self) -> dict[str, dict[int, bytes]]:
        """By their files' names, the blocks of each that are not zeros; each has a copy in a pack."""
        names = sorted(name for name in self.names if name.startswith("points/"))
        files = [self.read(name) for name in names]
        assert {raw[16:48] for raw in files} <= {name for name, (kind, _) in self.places.items() if kind == 3}
        return {name: self.disk(name, self.record(raw, 3)) for name, raw in zip(names, files, strict=True)}

    def disk(self, file: str, content: bytes) -> dict[int, bytes]:
        end = 4 + int.from_bytes(content[:4], "little")
        head: dict[str, Any] = json.loads(content[4:end])
        assert file == f"points/{head['vm']}/{head['disk']}/{head['time']}.point"
        blocks = -(-head["size"] // head["block"])
        found = {}
        for first, at in zip(range(0, blocks, 512), range(end, len(content), 32), strict=True):
            ids = content[at : at + 32]
            named = b"" if ids == ZERO else self.stored(ids, 2)
            assert not named or len(named) == 32 * min(512, blocks - first)
            for number in range(len(named) // 32):
                if (name := named[32 * number : 32 * number + 32]) != ZERO:
                    found[first + number] = self.stored(name, 1)
        return found


@pytest.mark.parametrize("cipher", ["none", "chacha20-poly1305"])
def test_a_folder_and_an_export_are_read_by_what_the_format_says(tmp_path: Path, cipher: str) -> None:
    key = tmp_path / "key"
    key.write_bytes(os.urandom(33))
    key.chmod(0o600)
    opens: dict[str, Any] = {} if cipher == "none" else {"key_file": str(key)}
    repo = lab.init(tmp_path / "repo", cipher=cipher, **opens)
    size, source = 514 * lab.MIB + 4096, tmp_path / "disk"
    first = lab.backup(repo, lab.disk(source, {0: 1, 3: 2, 513: 3, 514: 4}, size), **opens)
    lab.backup(repo, lab.disk(source, {0: 1, 3: 9, 513: 3}, size), **opens)
    before = {0: lab.block(1), 3: lab.block(2), 513: lab.block(3), 514: lab.block(4, 4096)}
    given: dict[str, Any] = {}
    if cipher != "none":
        assert next(iter(folder(repo, key.read_bytes(), "").values())) == before
        words = {"new_passphrase": Secret("correct horse")}
        lab.perform_job("backup-key-add", repo=repo, name="words", secrets=words, **opens)
        given = {"secrets": {"passphrase": Secret("correct horse")}}
        lab.perform_job("backup-key-remove", repo=repo, name="first", **given)
    one, two = folder(repo, b"", "correct horse").values()
    assert one == before and two == {0: lab.block(1), 3: lab.block(9), 513: lab.block(3)}
    target = tmp_path / "one.tar"
    lab.perform_job("backup-export", repo=repo, point=first, file=str(target), **given)
    with tarfile.open(target, "r:") as tar:
        held = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]
    (exported,) = Reader(list(held), held.__getitem__, b"", "correct horse").points().values()
    assert exported == before


def folder(repo: str, key_file: bytes, passphrase: str) -> dict[str, dict[int, bytes]]:
    names = [str(path.relative_to(repo)) for path in Path(repo).rglob("*") if path.is_file()]
    return Reader(names, lambda name: Path(repo, name).read_bytes(), key_file, passphrase).points()
