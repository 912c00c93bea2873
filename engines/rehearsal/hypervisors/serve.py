"""A rehearsal hypervisor's ssh: one key, one forced command, whatever was asked for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from engines.host.child import module, start


async def serve(folder: Path, address: str, port: int) -> None:
    """Listen until killed; says so by a file."""
    import asyncssh

    async def session(process: Any) -> None:
        agent = start(
            module("engines.cli", "fleet-agent"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_own(folder)
        )
        assert agent.stdin and agent.stdout
        with agent.stdin:
            agent.stdin.write(await process.stdin.read())
        while line := await asyncio.to_thread(agent.stdout.readline):
            process.stdout.write(line)
        await process.stdout.drain()
        code = await asyncio.to_thread(agent.wait)
        process.exit(code)

    server = await asyncssh.create_server(
        asyncssh.SSHServer,
        address,
        port,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "key.pub"),
        process_factory=session,
        encoding=None,
    )
    (folder / "ready").touch()
    await server.wait_closed()


def _own(folder: Path) -> dict[str, str]:
    """State, cache and settings of its own, as a machine has them."""
    homes = {f"XDG_{kind.upper()}_HOME": str(folder / kind) for kind in ("state", "cache", "config")}
    return {**os.environ, **homes}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
