"""A real S3 server, SeaweedFS from its Python package, on ports of its own in a fresh folder; it can be killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from engines.backup.store.s3 import access
from engines.host.child import bind_to_parent
from tests.ports import free_port

STARTS_WITHIN = 300.0  # s
KEY, SECRET = "test-access", "test-secret-key"
WRITER = ("writer-access", "writer-secret-key")
SERVERS = ("s3", "filer", "master", "volume")
PORTS = tuple(name for server in SERVERS for name in (f"{server}.port", f"{server}.port.grpc"))
RIGHTS = ["Admin", "Read", "Write", "List", "Tagging"]


class Ended(AssertionError):
    """The server ended by itself."""


class Weed:
    """`port` is free when it starts; `stop` and `start` keep it and the data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._find_ports()
        self.identity("admin", KEY, SECRET, RIGHTS)
        self.identity("writer", *WRITER, ["Read", "Write", "List"])
        (folder / "data").mkdir()

    def _find_ports(self) -> None:
        self._ports = {name: free_port() for name in PORTS}
        self.port = self._ports["s3.port"]

    def identity(self, name: str, key: str, secret: str, rights: list[str]) -> None:
        """Somebody who may do something; known from the next start on."""
        path = self.folder / "s3.json"
        known = json.loads(path.read_text())["identities"] if path.exists() else []
        one = {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": rights}
        path.write_text(json.dumps({"identities": [*known, one]}))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def key_file(self, key: str = KEY, secret: str = SECRET) -> Path:
        path = self.folder / f"{key}.key"
        path.write_text(f"{key}\n{secret}\n")
        path.chmod(0o600)
        return path

    def __enter__(self) -> Self:
        for _ in range(2):
            try:
                self.start()
            except Ended:  # as it does where somebody took one of its ports before it listened there
                self._find_ports()
            else:
                return self
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        beside = Path(sys.executable).with_name("weed")
        program = str(beside if beside.exists() else shutil.which("weed"))
        argv = [
            program, "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-dir={self.folder / 'data'}", "-volume.max=4000", "-master.volumeSizeLimitMB=1024",
            f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            *(f"-{name}={port}" for name, port in self._ports.items()),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            preexec_fn=bind_to_parent(),
        )
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.1)
        ended = self._process.poll() is not None
        self.stop()
        raise (Ended if ended else AssertionError)((self.folder / "log").read_text()[-3000:])

    def _answers(self) -> bool:
        """It stores an object: the first server listens long before the last."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['master.port']}/dir/assign", timeout=5) as said:
                assigned = "fid" in json.loads(said.read())
        except (OSError, ValueError):
            return False
        if not assigned:
            return False
        try:
            self.boto().list_buckets()
        except Exception:  # noqa: BLE001  not yet
            return False
        return True

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def boto(self, key: str = KEY, secret: str = SECRET) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"})
        return boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=key, aws_secret_access_key=secret,
            region_name="us-east-1", config=config,
        )  # fmt: skip

    def bucket(self, name: str, *, locked: bool = False) -> str:
        """A new bucket; `locked` keeps versions and allows Object Lock."""
        self.boto().create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        return name

    def allow(self, bucket: str, **more: Any) -> None:
        """Write down the access to a bucket for whoever reads s3.yaml now."""
        path = access.access_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        known = yaml.safe_load(path.read_text()) if path.exists() else {}
        entry = {"endpoint": self.endpoint, "key_file": str(self.key_file()), "patience": 20, **more}
        path.write_text(yaml.safe_dump({**known, bucket: entry}))
