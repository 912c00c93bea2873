"""An S3 server to try on one machine: bucket `vault`, with versions and locks, its access in s3.yaml; until Ctrl-C."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

from engines.backup.store.s3 import access
from tests.engines.backup.store.weed import Weed


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="crashcart-s3-") as folder, Weed(Path(folder)) as running:
        running.bucket("vault", locked=True)
        running.allow("vault")
        print(f"bucket vault at {running.endpoint}, its access in {access.access_file()}; Ctrl-C ends it", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
