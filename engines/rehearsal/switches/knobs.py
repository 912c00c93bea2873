"""The troubles of one rehearsal switch, each a knob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

QUESTION = (
    "This operation will change the configuration to default and reboot the switch. Do you want to continue? [y/n]:"
)


@dataclass
class Knobs:
    """How one switch behaves. Times in seconds; an empty text or a zero is the trouble not being there.

    banner: what ssh says before the login. motd: what it says after. mode_prefix: ESC[?7h before each prompt.
    cps: characters a second of output. pager_stuck: `terminal length 0` is refused. log_every: gap of log lines.
    login_delay: a slow AAA server. idle_logout: an exec-timeout. legacy: sha1 and CBC only. kbdint: asks its own
    way for the password. second_factor: what it asks besides, with kbdint, once the password is right.
    vcs_word: which second word `vcs vcsid N … M` takes. refuse_vcs: its error.
    ignore_vcs: `y` is taken and nothing follows. drop_after_y: the line is cut with no word. linger: from `y` to
    the first sign of going down. down, silent, init: TCP closed, TCP open and mute, CLI up and VCS not.
    reset: the config goes to default (host name sw0). new_host_key, factory_password, lose_address: what else goes.
    keep_rbridge: False loses the rbridge-id as well. refuse_line: a config line answered with an error.
    no_edge_command: an old release without `fabric neighbor-discovery`. hide_off: `no fabric isl` is not shown.
    members: other switches in the fabric. vlag: a port channel with a member on another rbridge.
    logical: port channels, VLANs and a Ve as well, each taken only once what it stands on is there. virtual_ip: a
    `vcs virtual ip address`. after_y: words in place of the usual ones after `y`, and nothing follows.
    after_save: the same for `copy running-config startup-config`.
    mute_help: `?` shows nothing. mode: empty for a release whose `show vcs` names none. vcs_off: VCS is disabled.
    lldp_name: what LLDP calls it. deny: commands that start so are not for this user. console_asks: its login prompt.
    asks_first: a question between the login and the command line, such as a new password for one that has expired.
    asks_after: the same, once it has rebooted. shut, shut_after: what a login by ssh is told, and hung up; the second
    once it has rebooted.
    keys: SHA256 of the ssh keys that log in.
    hold: the start of a command and how often it is answered before; then it is left without an answer, undone, until
    the knob goes back, which ends that session.
    reason: instead of ISL DOWN. lldp: whether the neighbour is seen. startup_differs: something is not saved.
    """

    banner: str = ""
    motd: str = ""
    mode_prefix: bool = False
    cps: int = 0
    pager_stuck: bool = False
    log_every: float = 0.0
    login_delay: float = 0.0
    idle_logout: float = 0.0
    legacy: bool = False
    kbdint: bool = False
    second_factor: str = ""
    vcs_word: Literal["set-rbridge-id", "rbridge-id"] = "set-rbridge-id"
    refuse_vcs: str = ""
    question: str = QUESTION
    ignore_vcs: bool = False
    drop_after_y: bool = False
    linger: float = 0.1
    down: float = 0.6
    silent: float = 0.3
    init: float = 0.3
    reset: bool = True
    new_host_key: bool = False
    factory_password: str = ""
    lose_address: bool = False
    keep_rbridge: bool = True
    refuse_line: str = ""
    no_edge_command: bool = False
    hide_off: bool = False
    members: int = 0
    vlag: bool = False
    logical: bool = False
    virtual_ip: bool = False
    after_y: str = ""
    after_save: str = ""
    mute_help: bool = False
    mode: str = "Fabric Cluster"
    vcs_off: bool = False
    lldp_name: str = ""
    deny: str = ""
    keys: tuple[str, ...] = ()
    console_asks: str = ""
    asks_first: str = ""
    asks_after: str = ""
    shut: str = ""
    shut_after: str = ""
    hold: tuple[str, int] | None = None
    reason: str = ""
    lldp: bool = True
    startup_differs: bool = False
