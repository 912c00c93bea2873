"""What a file is that was taken for a vendor's zip, by its first bytes, and what to do with it."""

from __future__ import annotations

import os
from pathlib import Path

from engines.host.files import open_file

AGAIN = "fetch the zip again from the vendor"
UNPACK = "unpack it into a folder (7z x), and name that folder"
BESIDE = "put it into a folder, with the flasher that the vendor gives for it, and name that folder"
ISO = 32769  # where ISO 9660 has its name
BEGINNINGS = (
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\x1f\x8b", "packed by gzip", UNPACK),
    (b"BZh", "packed by bzip2", UNPACK),
    (b"\xfd7zXZ\x00", "packed by xz", UNPACK),
    (b"MSCF", "a Windows cabinet", UNPACK),
    (b"ISc(", "an installer's cabinet", UNPACK),
    (b"\xd0\xcf\x11\xe0", "a Windows installer", UNPACK),
    (b"MZ", "a program, which may unpack itself", f"{UNPACK}; or run it on the system that it is for"),
    (b"%PDF", "a PDF", "name the BIOS zip, not its manual"),
    (b"<", "a web page", "what was fetched is a page (a login, a licence) and not the file: fetch it by a browser"),
)
SIZES = [1 << at for at in range(18, 27)]  # bytes of flash chips, 256 KiB to 64 MiB


def told(path: Path) -> tuple[str, str]:
    """What it is in words, and what helps; both empty where nothing is known of it."""
    with os.fdopen(open_file(path), "rb") as stream:
        begins = stream.read(ISO + 5)
        size = stream.seek(0, os.SEEK_END)
    head = begins.lstrip(b"\xef\xbb\xbf \t\r\n") if begins[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" else begins
    for mark, what, helps in BEGINNINGS:
        if head.startswith(mark):
            return what, helps
    if begins[ISO:] == b"CD001":
        return "an ISO image", "mount it, and name the folder in it that holds the BIOS"
    if begins[257:262] == b"ustar":
        return "a tar archive", UNPACK
    if not begins:
        return "empty", AGAIN
    if size in SIZES or path.suffix.lower() in (".cap", ".rom"):
        return "a BIOS image by itself", BESIDE
    return "", ""
