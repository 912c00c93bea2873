"""Without root the lab measures in a user namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.nobody import seen_in


def test_without_root_a_user_namespace_does() -> None:
    """The same lab as user nobody."""
    place = Path(tempfile.mkdtemp(prefix="crashcart-nobody-"))
    try:
        (place / "state").mkdir()
        shutil.chown(place / "state", "nobody")
        place.chmod(0o755)
        before, python = seen_in(place)
        argv = [
            python,
            "-m",
            "engines.cli",
            "failover",
            "lab",
            "--clients",
            "curl,python",
            "--faults",
            "drop,rst",
        ]
        ran = subprocess.run(
            [
                *before,
                "setpriv",
                "--reuid=nobody",
                "--clear-groups",
                *argv,
                "--ladder",
                "short",
                "--runs",
                "1",
                "--cap",
                "20",
                "--json",
            ],
            env={"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(place / "state"), "HOME": str(place / "state")},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        last = json.loads(ran.stdout.splitlines()[-1])
        assert {(row["client"], row["fault"], row["outcome"]) for row in last["result"]["table"]["cells"]} == {
            (client, fault, "moved") for client in ("curl", "python") for fault in ("drop", "rst")
        }
    finally:
        shutil.rmtree(place)
