"""A port that is down with ISL DOWN, and the switch that gets a vcsid of its own: what is asked, page by page."""

from __future__ import annotations

from tui.wizard import Form, Wizard

FIX = Wizard(
    "vdx",
    Form(
        "Switch", "switch", "user", "password", "interface", why="The VDX with the port that is down; it is only read."
    ),
    Form(
        "Other end",
        "mate",
        "mate_user",
        "mate_password",
        "mate_interface",
        why="Both ends are looked at; where LLDP shows the far port, leave it empty.",
    ),
    Form(
        "Way back",
        "console",
        "mate_console",
        "out_of_band",
        why="The fix may reset the switch, its management address and its users with it.",
    ),
    Form(
        "Fix",
        "method",
        "change",
        "vcsid",
        "used_vcsids",
        "reboot_timeout",
        "stable_for",
        why="The review says what it costs.",
    ),
    Form(
        "Agreed",
        "parallel_links",
        "split_vlag",
        "leave_fabric",
        "without_mate",
        why="Leave empty until it is asked for.",
    ),
    Form("Old ssh", "legacy_crypto", "new_host_key", why="Only where the login is refused and says so."),
)
