"""What the show commands of a rehearsal switch answer, laid out as public samples have it where there are any."""

from __future__ import annotations

import time
from collections.abc import Callable

from engines.rehearsal.switches import config
from engines.rehearsal.switches.switch import Switch

VERSION = """\
Network Operating System Software
Network Operating System Version: 7.2.0
Copyright (c) 1995-2017 Brocade Communications Systems, Inc.
Firmware name:      7.2.0
Build Time:         10:52:47 Jul 10, 2017
"""


def version(_switch: Switch, _words: str) -> str:
    """`show version`."""
    return VERSION


def vcs(switch: Switch, _words: str) -> str:
    """`show vcs`."""
    others = [(known.rbridge, known.wwn, known.address, known.hostname) for known in switch.fabric.joined(switch)]
    others += [
        (40 + at, f"10:00:00:27:F8:00:{40 + at:02X}:01", f"10.24.81.{40 + at}", f"leaf{at}")
        for at in range(switch.knobs.members)
    ]
    rows = [
        f"{switch.rbridge:<12} >{switch.wwn}*  {switch.address:<15} Online          Online         {switch.hostname}"
    ]
    rows += [
        f"{ident:<12}  {wwn}   {address:<15} Online          Online         {name}"
        for ident, wwn, address, name in others
    ]
    if switch.knobs.vcs_off:
        return "state : Disabled\n"
    distributed = "Distributed" if switch.knobs.mode == "Logical Chassis" else "Local-Only"
    mode = f"VCS Mode       : {switch.knobs.mode}\n" if switch.knobs.mode else ""
    return (
        f"Config Mode    : {distributed}\n{mode}VCS ID         : {switch.vcsid}\n"
        f"VCS GUID       : 0f5c6f4e-aaaa-4444-8888-{switch.rbridge:012d}\nTotal Number of Nodes       : {len(rows)}\n"
        "Rbridge-Id       WWN                            Management IP   VCS Status      Fabric Status  HostName\n"
        + "-" * 108
        + "\n"
        + "\n".join(rows)
        + "\n"
    )


def system(switch: Switch, _words: str) -> str:
    """`show system`."""
    up = int(time.monotonic() - switch.booted)
    days, clock = divmod(up, 86400)
    spelled = f"up {days} days, {clock // 3600}:{clock // 60 % 60:02d}" if days else f"up {clock // 60} min"
    return (
        f"Stack MAC                  : 00:27:f8:00:{switch.rbridge:02x}:01\n-- UNIT 0 --\n"
        f"Unit Name                  : {switch.hostname}\nSwitch Status              : Online\n"
        f"Up Time                    : {spelled}\nManagement IP              : {switch.address}\n"
    )


def interface(switch: Switch, words: str) -> str:
    """`show interface`, of one or all."""
    found = [port for port in switch.ports if not words or config_name(switch, port).lower() == words.lower()]
    answer = [*(_port(switch, port) for port in found), *([] if words else _logical(switch))]
    return "\n".join(answer) if answer else "%Error: Interface does not exist\n"


def _logical(switch: Switch) -> list[str]:
    """What `show interface` has besides ports."""
    if not switch.knobs.logical:
        return []
    nested = config.block(switch.running, f"rbridge-id {switch.rbridge}") or {}
    names = [line.removeprefix("interface ") for line in (*switch.running, *nested) if line.startswith("interface ")]
    names = [name for name in names if name.split()[0] in ("Port-channel", "Ve", "Vlan")]
    said = [f"{name} is up, line protocol is up\nHardware is AGGREGATE\nMTU 2500 bytes\n" for name in names]
    return [*said, "Vlan 1002 is up, line protocol is down (no members)\nTunnel 61441 is up, line protocol is up\n"]


def config_name(switch: Switch, port: int) -> str:
    """A port's name."""
    return switch.header(port).removeprefix("interface ")


def _port(switch: Switch, port: int) -> str:
    link = switch.fabric.link(switch, port)
    speed = "10000 Mbit" if link.up else "Nil"
    mac = f"0027.f800.{switch.rbridge:02x}{port:02x}"
    return (
        f"{config_name(switch, port)} is {link.state}, line protocol is {link.line} ({link.reason})\n"
        f"Hardware is Ethernet, address is {mac}\n    Current address is {mac}\nPluggable media present\n"
        f"Interface index (ifindex) is {4697620480 + port * 65536}\nMTU 2500 bytes\nLineSpeed Actual     : {speed}\n"
        "LineSpeed Configured : Auto, Duplex: Full\nReceive Statistics:\n    15254 packets, 1395269 bytes\n"
        "    Errors: 0, Discards: 0\nTransmit Statistics:\n    1554 packets, 13952 bytes\n    Errors: 0, Discards: 0\n"
    )


def lldp(switch: Switch, _words: str) -> str:
    """`show lldp neighbors detail`."""
    return "\n".join(_neighbour(switch, port) for port in switch.ports) if switch.knobs.lldp else ""


def _neighbour(switch: Switch, port: int) -> str:
    link = switch.fabric.link(switch, port)
    if link.state != "up" or link.reason == "link protocol down" or link.peer is None:
        return ""
    peer = link.peer.switch
    name, mac = switch.fabric.lldp_as
    return (
        f"Neighbors for Interface Te {switch.rbridge}/0/{port}\n\nMANDATORY TLVs\n===============\n"
        f"Local Interface: Te {switch.rbridge}/0/{port} "
        f"(Local Interface MAC: 0027.f800.{switch.rbridge:02x}{port:02x})\n"
        f"Remote Interface: Te {peer.rbridge}/0/{link.peer.port} "
        f"(Remote Interface MAC: 0027.f800.{peer.rbridge:02x}{link.peer.port:02x})\n"
        "Dead Interval: 120 secs\nRemaining Life : 104 secs\n"
        f"Chassis ID: {mac or _mac(peer)}\nOPTIONAL TLVs\n==============\n"
        f"System Name: {name or peer.knobs.lldp_name or peer.hostname}\n"
        f"System Description: Brocade-VDX-VCS {peer.vcsid}\n"
        f"Management Address: {peer.address}\n"
    )


def _mac(switch: Switch) -> str:
    digits = switch.wwn.replace(":", "").lower()[4:]
    return ".".join(digits[at : at + 4] for at in (0, 4, 8))


def isl(switch: Switch, _words: str) -> str:
    """`show fabric isl`."""
    rows = []
    for port in switch.ports:
        link = switch.fabric.link(switch, port)
        if link.isl and link.peer:
            peer = link.peer
            rows.append(
                f" {port:<7} Te {switch.rbridge}/0/{port:<10} {peer.port:<5} "
                f"Te {peer.switch.rbridge}/0/{peer.port:<10} "
                f'{peer.switch.wwn} 10G  Yes "{peer.switch.hostname}"'
            )
    head = " Src     Src               Nbr   Nbr\n Index   Interface         Index Interface         "
    head += "Nbr-WWN                 BW   Trunk Nbr-Name\n"
    return (
        f"Rbridge-id: {switch.rbridge}   #ISLs: {len(rows)}\n\n{head}"
        + "-" * 86
        + "\n"
        + "".join(row + "\n" for row in rows)
    )


def islports(switch: Switch, _words: str) -> str:
    """`show fabric islports`."""
    rows = []
    for port in switch.ports:
        link = switch.fabric.link(switch, port)
        says = f"ISL segmented,({link.segmented})(Trunk Primary)" if link.segmented else ""
        if link.isl and link.peer:
            says = f'ISL {link.peer.switch.wwn} "{link.peer.switch.hostname}" (Trunk Primary)'
        state = "Up" if link.up or says else "Down"
        rows.append(f"   {port:<5} Te {switch.rbridge}/0/{port:<10} {state:<10} {says}".rstrip())
    return (
        f"Name:      {switch.hostname}\nType:      131.4\nState:     Online\nRole:      Fabric Principal\n"
        f"VCS Id:    {switch.vcsid}\nConfig Mode:Local-Only\nRbridge-id:     {switch.rbridge}\n"
        f"WWN:      {switch.wwn.lower()}\n\n"
        " Index     Interface        State      Operational State\n" + "=" * 67 + "\n" + "\n".join(rows) + "\n"
    )


def port_channel(switch: Switch, _words: str) -> str:
    """`show port-channel`."""
    if not switch.knobs.vlag:
        return ""
    here, there = switch.rbridge, 40
    return (
        " LACP Aggregator: Po 10 (vLAG)\n Aggregator type: Standard\n  Ignore-split is enabled\n  Member rbridges:\n"
        f"    rbridge-id: {here} (1)\n    rbridge-id: {there} (1)\n  Admin Key: 0010 - Oper Key 0010\n"
        f"  Member ports on rbridge-id {here}:\n    Link: Te {here}/0/2 (0x{here:02X}18010102) sync: 1   *\n"
    )


def users(switch: Switch, _words: str) -> str:
    """`show users`."""
    return (
        "**USER SESSIONS**\nRBridge\nID     Username     Host IP         Method     Time Logged In\n"
        f"{switch.rbridge}      {switch.user:<12} 127.0.0.1       cli        2012-04-30 01:59:35\n"
        f"{switch.rbridge}      oncall       10.9.8.7        cli        2012-04-29 21:00:01\n"
        "**LOCKED USERS**\nRBridge\nID     username\nno locked users\n"
    )


def running(switch: Switch, words: str) -> str:
    """`show running-config`, whole or of one block."""
    return _config(switch, switch.running, words)


def startup(switch: Switch, words: str) -> str:
    """`show startup-config`."""
    return _config(switch, switch.startup, words)


def _config(switch: Switch, tree: config.Tree, words: str) -> str:
    if words:
        inner = config.block(tree, words)
        if inner is None:
            return "%Error: element not found\n"
        tree = {next(line for line in tree if line.lower() == words.lower()): inner}
    return "\n".join(config.show(tree, hide_off=switch.knobs.hide_off)) + "\n"


SHOWS: dict[str, Callable[[Switch, str], str]] = {
    "version": version,
    "vcs": vcs,
    "system": system,
    "interface": interface,
    "lldp neighbors detail": lldp,
    "fabric isl": isl,
    "fabric islports": islports,
    "port-channel": port_channel,
    "users": users,
    "running-config": running,
    "startup-config": startup,
}


def show(switch: Switch, words: str) -> str | None:
    """The answer to `show WORDS`; None where the switch knows no such command."""
    for known in sorted(SHOWS, key=len, reverse=True):
        if words == known or words.startswith(known + " "):
            return SHOWS[known](switch, words.removeprefix(known).strip())
    return None
