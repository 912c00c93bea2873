"""The parameters of the vdx task."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from engines.job.errors import BadParam
from engines.job.params import Params, Secret, param
from engines.vdx.line.access import Ways
from engines.vdx.line.address import Address, address, user
from engines.vdx.line.reach import HostKeys
from engines.vdx.switch.parse import block_name, interface_name


class Ends(Params, frozen=True, kw_only=True):
    """The two ends of a link and how to log in to them."""

    switch: Annotated[
        str,
        param(
            "Switch", "the VDX with the port that is down", kind="host", metavar="HOST[:PORT]", allowed="HOST[:PORT]"
        ),
    ]
    user: Annotated[str, param("User", "the login name on the switch", allowed="a login name")]
    interface: Annotated[
        str, param("Port", "the port that is down, such as TenGigabitEthernet 1/0/5", allowed="a port such as te 1/0/5")
    ]
    password: Annotated[Secret | None, param("Password", "the switch's password")] = None
    mate: Annotated[
        str, param("Mate", "the switch at the other end; both are looked at", kind="host", metavar="HOST[:PORT]")
    ] = ""
    mate_user: Annotated[str, param("User there", "the login name on the mate; empty for the same")] = ""
    mate_password: Annotated[
        Secret | None, param("Password there", "the mate's password; without it, the switch's")
    ] = None
    mate_interface: Annotated[
        str, param("Port there", "the mate's port; empty where LLDP shows it", allowed="a port such as te 2/0/5")
    ] = ""
    key_file: Annotated[
        str,
        param("Key", "a private key to log in with; the password is still used where one is asked for", kind="file"),
    ] = ""
    agent: Annotated[bool, param("Agent", "log in with the keys of this session's ssh agent")] = False
    jump: Annotated[
        str,
        param("Jump", "a machine to go through; its own login must need no question", metavar="[USER@]HOST[:PORT]"),
    ] = ""
    ssh_config: Annotated[
        str,
        param(
            "ssh config",
            "a file such as ~/.ssh/config whose settings for these hosts are taken; else none",
            kind="file",
        ),
    ] = ""
    console: Annotated[
        str,
        param(
            "Console",
            "a command that reaches the switch's console line, such as: telnet ts1 7005",
            kind="command",
            metavar="COMMAND",
        ),
    ] = ""
    mate_console: Annotated[str, param("Console there", "the same for the mate", kind="command", metavar="COMMAND")] = (
        ""
    )
    mate_name: Annotated[
        str, param("Name in LLDP", "agree that the mate is what LLDP calls so, where it calls itself otherwise")
    ] = ""
    legacy_crypto: Annotated[
        bool, param("Old crypto", "agree to the old ssh algorithms a switch offers, from a short list, and remember it")
    ] = False
    host_key: Annotated[
        str,
        param(
            "Host keys",
            "agree to ssh host keys that are met for the first time: their fingerprints, a comma between",
            metavar="SHA256:…",
        ),
    ] = ""
    new_host_key: Annotated[
        str, param("New host key", "agree to a changed ssh host key: its fingerprint, SHA256:…", metavar="SHA256:…")
    ] = ""

    def __post_init__(self) -> None:
        self.where()
        user("user", self.user)
        if self.mate and self.mate_where() == self.where():
            raise BadParam("mate", self.mate, "another switch than the first")
        if self.mate_user:
            user("mate_user", self.mate_user)
        if self.jump and not JUMP.fullmatch(self.jump):
            raise BadParam("jump", self.jump, "[USER@]HOST[:PORT]; several with a comma between")
        for name in ("interface", "mate_interface"):
            given = getattr(self, name)
            if (given or name == "interface") and not interface_name(given):
                raise BadParam(name, given, _port_wanted(given))

    def ways(self) -> Ways:
        """How ssh goes there and proves who it is, besides the password."""
        return Ways(self.key_file, self.agent, self.jump, self.ssh_config)

    def host_keys(self) -> HostKeys:
        """The fingerprints that were agreed to."""
        changed = tuple(word for word in re.split(r"[,\s]+", self.new_host_key) if word)
        return HostKeys((*(word for word in re.split(r"[,\s]+", self.host_key) if word), *changed), changed)

    def where(self) -> Address:
        """The switch."""
        return address("switch", self.switch)

    def mate_where(self) -> Address:
        """The mate; only where one is given."""
        return address("mate", self.mate)


ONE = r"(?:[A-Za-z0-9_][A-Za-z0-9._@-]*@)?(?:[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
JUMP = re.compile(rf"{ONE}(?:,{ONE})*")


def _port_wanted(given: str) -> str:
    bundle = block_name(given)
    if bundle.startswith("Port-channel"):
        return (
            f"one port with a cable in it: a member port of {bundle} (show port-channel {bundle.split()[1]} lists them)"
        )
    if bundle:
        return f"one port with a cable in it, such as TenGigabitEthernet 1/0/5, not {bundle}"
    return "a port such as TenGigabitEthernet 1/0/5 (rbridge-id/slot/port)"


class FixParams(Ends, frozen=True, kw_only=True):
    """What `vdx fix` does about it."""

    vcsid: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=8192)] | Literal["auto"],
        param(
            "New vcsid", "the vcsid that one switch gets; auto takes the lowest free one", allowed="auto, or 1 to 8192"
        ),
    ] = "auto"
    used_vcsids: Annotated[
        str, param("Taken vcsids", "ids of fabrics that cannot be seen from here, such as 3,7,10-20", metavar="LIST")
    ] = ""
    method: Annotated[
        Literal["vcsid", "edge-port"],
        param(
            "Method", "vcsid reboots one switch; edge-port stops neighbour discovery on both ports, without a reboot"
        ),
    ] = "vcsid"
    change: Annotated[
        Literal["auto", "switch", "mate"], param("Changed switch", "which one gets the new vcsid and reboots")
    ] = "auto"
    copy_to: Annotated[
        str,
        param("Copy to", "a folder of yours that gets the configuration as well, before the reboot", kind="folder"),
    ] = ""
    out_of_band: Annotated[
        bool, param("Out of band", "somebody can reach the changed switch without its management address")
    ] = False
    reboot_timeout: Annotated[
        int, param("Reboot limit", "seconds a reboot may take before the run asks for help", ge=5, le=7200, metavar="S")
    ] = 900
    stable_for: Annotated[
        int, param("Stable for", "seconds that both ends must stay up", ge=0, le=3600, metavar="S")
    ] = 30
    two_fabrics: Annotated[
        bool, param("Two fabrics", "agree that the two are to be two fabrics, where only one end has fabric isl off")
    ] = False
    parallel_links: Annotated[
        bool,
        param(
            "Parallel links", "agree that several cables join the two: as edge ports they are a loop without LAG or STP"
        ),
    ] = False
    split_vlag: Annotated[
        bool, param("Split vLAG", "agree that a port channel with members on several switches is torn apart")
    ] = False
    leave_fabric: Annotated[
        bool, param("Leave fabric", "agree that the changed switch leaves the other members of its fabric")
    ] = False
    without_mate: Annotated[
        bool, param("Without mate", "go on although the other end cannot be looked at; only this end is verified then")
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.taken()

    def taken(self) -> set[int]:
        """The ids of `used_vcsids`. Raises BadParam."""
        found: set[int] = set()
        for part in self.used_vcsids.replace(" ", "").split(",") if self.used_vcsids.strip() else []:
            first, dash, last = part.partition("-")
            if not first.isdigit() or (dash and not last.isdigit()) or not 0 < int(first) <= int(last or first) <= 8192:
                raise BadParam("used_vcsids", self.used_vcsids, "ids and ranges from 1 to 8192, such as 3,7,10-20")
            found.update(range(int(first), int(last or first) + 1))
        return found
