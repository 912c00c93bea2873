"""A BIOS update disc, and the BMC that it goes into: which fields stand together, and why they are asked."""

from __future__ import annotations

from tui.wizard import Form, Wizard

COMMAND = ("flasher", "command", "switches", "add", "boot_test")

BUILD = Wizard(
    "biosiso",
    Form(
        "Firmware", "firmware", "board", "board_checked", "rom", why="Compare them: a wrong ROM can destroy the board."
    ),
    Form("Disc", "dos", "form", "output", why="What the machine boots, and the file that becomes of it."),
    Form("Command", *COMMAND, why="The disc shows its command and flashes nothing by itself."),
    keeps=("dos", "form"),
)

INSERT = Wizard(
    "biosiso-insert",
    Form("BMC", "bmc", "user", "password", "way", why="The management controller of the board, not the host."),
    Form("Disc", "iso", "url", "boot_once", "boot_mode", "eject_after", why="One of the two: a file here, or a URL."),
    Form("Trust", "fingerprint", "ca_file", "insecure_http", why="How the BMC proves that it is itself."),
    Form("Network", "listen", "fetch_from", "system", "slot", "timeout", why="Only where the obvious does not fit."),
    title="put a disc into a BMC's virtual drive",
    keeps=("user", "ca_file", "listen", "fetch_from", "timeout"),
)
