"""What a restore is told: which point goes where, and in what manner."""

from __future__ import annotations

from typing import Annotated

from engines.backup.commands.far_place import checked
from engines.backup.repository.repository import WHICH_POINT, RepoParams
from engines.job.params import param


class RestoreParams(RepoParams, frozen=True, kw_only=True):
    """What goes where."""

    point: Annotated[str, WHICH_POINT]
    target: Annotated[
        str,
        param(
            "Target",
            "a file or block device, whose content is lost; - for standard output; ssh://HOST/PATH for another host's",
            kind="output",
            positional=True,
        ),
    ]
    delta: Annotated[bool, param("Delta", "change the target in place, and write only what differs")] = False
    verify: Annotated[bool, param("Verify", "read the target back and compare")] = False
    salvage: Annotated[
        bool, param("Salvage", "where blocks are lost, write all that is whole, and name what is not")
    ] = False
    wipe_tail: Annotated[
        bool, param("Wipe tail", "overwrite what a larger device has behind the disk's end with zeros")
    ] = False
    powered_off: Annotated[
        bool, param("Powered off", "you vouch that no other machine uses it, where no lock can tell")
    ] = False
    ssh_config: Annotated[
        str, param("ssh settings", "for ssh://, a file as ssh's -F takes it; without it ssh's own", kind="file")
    ] = ""

    def __post_init__(self) -> None:
        checked(self.target)
