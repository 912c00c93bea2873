"""In this process's network namespace: a web server, the advised lines, the check before, during and after."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from engines.failover import advice
from tests.engines.failover.stage import open_stage


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """As the technician does it: the printed line, pasted."""
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)


def checked(told: advice.Advice) -> dict[str, Any]:
    done = shell(told.check[0])
    return {"code": done.returncode, "said": done.stderr}


def main(tool: str, address: str) -> int:
    shell("ip link set lo up")
    told = advice.take_down("shop.test", address, (8080,))
    do, undo = (told.nft, told.nft_undo) if tool == "nft" else (told.iptables, told.iptables_undo)
    with open_stage() as stage:
        stage.copies([address], 8080)
        found = [checked(told)]
        for lines in (do, undo):
            for line in lines:
                done = shell(line)
                if done.returncode:
                    sys.stderr.write(f"{line}: {done.stderr}")
                    return 1
            found.append(checked(told))
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
