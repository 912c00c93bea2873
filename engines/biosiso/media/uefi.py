"""A disc that a UEFI shell sees too: the files on a FAT16 boot image, with a startup.nsh that flashes nothing."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from engines.biosiso.media import fat16, layout
from engines.biosiso.media.layout import Entry

EFI_IMAGE = "ISOLINUX/EFI.IMG"
LABEL = "CRASHCART"
MARK = "CRASHCRT.TXT"
LARGEST = 65535 * 512  # bytes; El Torito counts a boot image's sectors in 16 bits
DRIVES = 16
SAYS = "CRASHCART-UEFI: nothing is flashed yet"


def entries(own: list[Entry], vendor: list[Entry], rom: str) -> list[Entry]:
    """The files on the UEFI boot image."""
    mark = layout.of_text(MARK, "crashcart BIOS update disc\r\n")
    return [layout.of_text("STARTUP.NSH", startup_nsh(vendor, rom)), mark, *own, *vendor]


def startup_nsh(vendor: list[Entry], rom: str) -> str:
    """Goes to its drive, lists it and says what to type: a shell starts it by itself, so it never flashes."""
    from engines.biosiso.media.texts import dos_text

    script = next((entry.disc for entry in vendor if entry.disc.endswith("FLASH.NSH")), "")
    backslashed = script.replace("/", "\\")
    typed = f"{backslashed} {rom}" if script else "nothing here runs in UEFI: boot the disc as a BIOS would"
    drives = " ".join(f"FS{number}" for number in range(DRIVES))
    return dos_text(
        [
            "@echo -off",
            f"for %d in {drives}",
            f"  if exist %d:\\{MARK} then",
            "    %d:",
            "    goto found",
            "  endif",
            "endfor",
            'echo "CRASHCART-UEFI: its own drive was not found, type: map -r"',
            "goto done",
            ":found",
            "ls",
            f'echo "{SAYS}. To flash, type:"',
            f'echo "  {typed}"',
            'echo "The wrong file can destroy the board. See README.TXT"',
            ":done",
        ]
    )


def make(files: tuple[Entry, ...], out: Path, epoch: int) -> Generator[tuple[int, int], None, None]:
    """Write the boot image to `out`; yields (bytes done, total). Raises Refused where it would be too large."""
    with out.open("xb") as stream:
        yield from fat16.write(shape(files), files, stream, epoch, LABEL)


def shape(files: tuple[Entry, ...]) -> fat16.Layout:
    """The boot image's layout. Raises Refused where El Torito cannot hold it."""
    return fat16.layout(files, start=0, largest=LARGEST)
