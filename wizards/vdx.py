"""A port that is down with ISL DOWN: the two ends, the way back, and which fix, page by page."""

from __future__ import annotations

from tui.wizard import Form, Wizard

SWITCH = ("switch", "user", "password", "interface")
LOGIN = ("key_file", "agent", "jump", "ssh_config")
OTHER = ("mate", "mate_user", "mate_password", "mate_interface", "mate_name")
BACK = ("console", "mate_console", "out_of_band", "copy_to")
HOW = ("method", "change", "vcsid", "used_vcsids", "reboot_timeout", "stable_for")
AGREED = ("two_fabrics", "parallel_links", "split_vlag", "leave_fabric", "without_mate")

FIX = Wizard(
    "vdx",
    Form("Switch", *SWITCH, why="The VDX with the port that is down; it is only read until you type its name."),
    Form("Other end", *OTHER, why="Both ends are looked at; the far port may stay empty where LLDP shows it."),
    Form("Way back", *BACK, why="A reset may take the management address and the users with it."),
    Form("Fix", *HOW, why="The review says what it costs and what is sent."),
    Form("Agreed", *AGREED, why="Leave empty until it is asked for."),
    Form(
        "Ssh",
        *LOGIN,
        "host_key",
        "legacy_crypto",
        "new_host_key",
        why="Where a password is not the way in, or a login is refused and says so.",
    ),
    keeps=("user", "mate_user", "copy_to", "used_vcsids", "key_file", "agent", "jump", "ssh_config"),
)
