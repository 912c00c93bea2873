"""A machine as README's command lines expect it: their paths, names and ports, in mount and network namespaces.

Run by itself as `python -m tests.cli.world LINES.json FOUND.json`, in namespaces that `unshare` made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engines.host.child import bind_to_parent
from engines.rehearsal import disk, firmware
from engines.rehearsal.hypervisors import Host
from engines.rehearsal.switches import Rehearsal, serve
from tests.engines.backup import lab
from tests.engines.failover.stage import open_stage

ROOT = Path(__file__).resolve().parents[2]
SITE, COPIES = "shop.example.net", ["127.0.0.21", "127.0.0.22"]
ENOUGH = 600.0  # s


def enter() -> list[str]:
    """The words before a command that is to live in such a world: root's, or a user's who is root there alone."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *own, "--mount", "--net", "--fork", "--kill-child"]


def _mirror(place: str, aside: Path) -> None:
    """Have a folder of our own at `place` in which everything that was there still is."""
    before = aside / place.strip("/").replace("/", "-")
    before.mkdir(parents=True)
    subprocess.run(["mount", "--rbind", place, before], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    for path in before.iterdir():
        Path(place, path.name).symlink_to(path)


def _own(path: Path, text: str = "") -> None:
    """A file of our own, or a folder where there is no text."""
    if text:
        if path.parent.is_symlink():
            path.parent.unlink()  # of the mirror: through it the machine's own would be written
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o600 if path.name == "pw" else 0o644)
    else:
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)


@contextmanager
def standing(here: Path) -> Iterator[None]:
    """Paths, hosts, switches, site and fleet of README, with `here` as the working folder."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for place in ("/etc", "/root", "/var/lib"):
        _mirror(place, here / "aside")
    subprocess.run(["mount", "-t", "tmpfs", "none", "/srv"], check=True)  # nothing of the machine's is needed of it
    _own(Path("/etc/resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1\n")
    for path in ("/var/lib/libvirt", "/var/lib/libvirt/images", "/var/lib/node_exporter"):
        _own(Path(path))
    image = Path("/var/lib/libvirt/images/web1.img")
    disk.write(image, 0)
    built = firmware.make(here)
    floppy = here / "FDOEMCD.builder/CDROOT/isolinux/BTDSK.IMG"
    floppy.parent.mkdir(parents=True)
    floppy.symlink_to(built["dos"])
    for given, name in ((here / "x9scm2_608.zip", "x9scm2_608.zip"), (here / "FDOEMCD.builder", "FDOEMCD")):
        Path("/root", name).symlink_to(given)
    with ExitStack() as stack:
        stage = stack.enter_context(open_stage())
        stage.names(SITE, COPIES, port=53)
        stage.copies(COPIES, port=80)
        switches = stack.enter_context(_switches())
        names = [f"{host.address} {name}" for name, host in switches.hosts.items()]
        _own(Path("/etc/hosts"), "\n".join(["127.0.0.1 localhost", *names, ""]))
        _own(here / "pw", switches.password)
        _agreed(switches)
        host = Host(here / "hv1", 1, ("web1",))
        lab.init(Path("/srv/fleet"))
        _own(Path("/etc/crashcart/fleet.yaml"), _fleet(host))
        yield


def _switches() -> Rehearsal:
    """Switches that answer where ssh does."""
    import engines.rehearsal.switches as rehearsal

    serve.SSH_PORT = rehearsal.SSH_PORT = 22
    return Rehearsal()


def _agreed(switches: Rehearsal) -> None:
    """Their host keys are known from an earlier day."""
    from engines.vdx.line.address import Address, Remembered

    for switch in (switches.a, switches.b):
        kept = Remembered(Address(switch.name, 22))
        kept.prepare()
        public = serve._key(switch.knobs.legacy, serve._number(switch)).export_public_key().decode()
        kept.known_hosts.write_text(f"{switch.name} {public}")


def _fleet(host: Host) -> str:
    """One hypervisor and one repository: README's own is for machines with a bucket."""
    return (
        f"hosts: {{hv1: {{ssh: local, slots: 2, connect: 'test://{host.folder}/host.xml'}}}}\n"
        "repositories: {off1: {url: /srv/fleet, slots: 4}}\n"
        "policies: {gold: {to: [off1], keep: {daily: 14}}}\nguests: [{match: all, policy: gold}]\n"
        "ledger: /srv/ledger.sqlite\n"
    )


def ran(line: str, env: dict[str, str]) -> dict[str, object]:
    """What a shell makes of a line."""
    done = subprocess.run(
        ["bash", "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        timeout=ENOUGH,
        check=False,
        preexec_fn=bind_to_parent,
    )
    return {"code": done.returncode, "said": done.stdout}


def main(lines: str, found: str) -> None:
    here = Path(found).parent
    launcher = here / "bin" / "crashcart"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m engines.cli "$@"\n')
    launcher.chmod(0o755)
    os.chdir(here)
    env = {**os.environ, "PATH": f"{launcher.parent}:{os.environ['PATH']}", "HOME": "/root"}
    with standing(here):
        results = {line: ran(line, env) for line in json.loads(Path(lines).read_text())}
    Path(found).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
