"""The sushy-tools emulator as a process of its own, with a login and, where wanted, a certificate."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import ipaddress
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engines.host.child import bind_to_parent
from tests.ports import free_port

PASSWORD = secrets.token_urlsafe(18)
HOST = "27946b59-9e44-4fa7-8e91-f3527a1ef094"  # sushy-tools' default fake system
SECOND = "0b6ff7a5-6a8a-4c7e-8c4e-2f9e2e7b3c11"


def make_disc(folder: Path) -> Path:
    """The least that passes for an ISO 9660 disc, with bytes of its own."""
    content = bytearray(secrets.token_bytes(300_001))
    content[16 * 2048 + 1 : 16 * 2048 + 6] = b"CD001"
    path = folder / "x9scm.iso"
    path.write_bytes(content)
    return path


def make_certificate(folder: Path) -> tuple[Path, Path, str]:
    """A self-signed certificate for 127.0.0.1: its file, its key's file, its SHA-256 in hex."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a bmc")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "bmc.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "bmc.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder / "bmc.pem", folder / "bmc.key", made.fingerprint(hashes.SHA256()).hex()


class Emulator:
    """sushy-emulator with its fake driver, a login, and one or two systems."""

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None, systems: tuple[str, ...] = (HOST,)) -> None:
        self.folder, self.tls, self.port = folder, tls, free_port()
        self.fetched = folder / "tmp"
        self.fetched.mkdir(parents=True)
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"ADMIN:{hashed}\n")
        fakes = [
            {"uuid": uuid, "name": f"fake{at}", "power_state": "Off", "nics": []} for at, uuid in enumerate(systems)
        ]
        (folder / "conf.py").write_text(
            f"SUSHY_EMULATOR_AUTH_FILE = {str(folder / 'htpasswd')!r}\n"
            f"SUSHY_EMULATOR_STATE_DIR = {str(folder / 'state')!r}\n"
            f"SUSHY_EMULATOR_FAKE_SYSTEMS = {fakes!r}\n"
        )

    def __enter__(self) -> Emulator:
        argv = [sys.executable, "-c", "from sushy_tools.emulator.main import main; main()", "--fake"]
        argv += ["-i", "127.0.0.1", "-p", str(self.port), "--config", str(self.folder / "conf.py")]
        if self.tls:
            argv += ["--ssl-certificate", str(self.tls[0]), "--ssl-key", str(self.tls[1])]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self.fetched), "PYTHONPATH": ""},
                preexec_fn=bind_to_parent(),
            )
        deadline = time.monotonic() + 120.0
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return self
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(120.0)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request of the test's own."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120.0)
        pair = secrets_pair()
        headers = {"Authorization": pair, "Content-Type": "application/json"}
        line.request(method, f"/redfish/v1/Systems/{HOST}{path}", json.dumps(body or {}), headers)
        answer = line.getresponse()
        text = answer.read()
        line.close()
        assert answer.status < 300, text
        return json.loads(text) if text else {}

    def reset(self) -> None:
        """Empty the slot and set the boot to the hard disk."""
        self.ask("POST", "/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia")
        self.ask("PATCH", "", {"Boot": {"BootSourceOverrideTarget": "Hdd", "BootSourceOverrideMode": "UEFI"}})

    def seen(self) -> tuple[Any, ...]:
        """What a run may change and must bring back."""
        slot, host = self.ask("GET", "/VirtualMedia/Cd"), self.ask("GET", "")
        boot = {key: value for key, value in host["Boot"].items() if not key.endswith("AllowableValues")}
        return slot["Inserted"], slot["Image"], boot, host["PowerState"]


def secrets_pair() -> str:
    return "Basic " + base64.b64encode(f"ADMIN:{PASSWORD}".encode()).decode()
