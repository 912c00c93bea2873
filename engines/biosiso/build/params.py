"""What the technician orders: the parameters of a build, each declared once."""

from __future__ import annotations

from typing import Annotated, Literal

from engines.biosiso.vendor.switches import DEFAULT
from engines.job.params import Params, param


class BuildParams(Params, frozen=True, kw_only=True):
    """Parameters of `build`."""

    firmware: Annotated[
        str, param("Firmware", "The vendor's BIOS zip for this very board, or its unpacked folder.", kind="file")
    ]
    dos: Annotated[
        str,
        param(
            "DOS",
            "FDOEMCD.builder.zip, its folder, or a FreeDOS floppy image; none is shipped. Not for uefi.",
            kind="file",
        ),
    ] = ""
    output: Annotated[str, param("Output", "The ISO to write; a file that is there is kept for undo.", kind="output")]
    board: Annotated[
        str, param("Board", "The name printed on the board; the ROM is compared with it. Empty compares nothing.")
    ] = ""
    board_checked: Annotated[
        bool,
        param(
            "Board checked by hand", "Tick only after comparing ROM and board yourself, for a board not in the list."
        ),
    ] = False
    rom: Annotated[
        str,
        param(
            "ROM", "Which file is the ROM, where the firmware holds more than one or names it oddly.", metavar="NAME"
        ),
    ] = ""
    flasher: Annotated[
        str, param("Flasher", "The vendor's flash program, where it is not AMI's AFUDOS.", metavar="NAME")
    ] = ""
    command: Annotated[
        str,
        param(
            "Command",
            "How that flasher is called, %1 for the ROM; empty for the line of the vendor's batch.",
            metavar="LINE",
        ),
    ] = ""
    switches: Annotated[
        str, param("Switches", "What the flasher is told; the review shows the vendor's own beside it.")
    ] = DEFAULT
    add: Annotated[
        tuple[str, ...],
        param("Add", "More files or folders for the disc, such as the vendor's patch application.", metavar="FILE"),
    ] = ()
    form: Annotated[
        Literal["cd", "stick", "dual", "uefi"],
        param(
            "Form",
            "cd: CD or a BMC's virtual CD; stick: USB too, in a RAM disk; dual: cd that UEFI sees too; uefi: FAT32.",
        ),
    ] = "cd"
    boot_test: Annotated[
        bool, param("Boot test", "Boot the finished disc in an emulated machine before it is put in place.")
    ] = False
