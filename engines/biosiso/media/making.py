"""Makes the disc that a plan describes, or a throwaway one of the same plan with other files in it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from engines.biosiso.media import fat16, iso, layout, stick, uefi, usb, verify
from engines.biosiso.media.layout import Entry
from engines.biosiso.vendor.sources import Source


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """What `execute` needs: the disc, the files of its FAT volume if it has one, where it goes, and what was there.

    flasher: its name on the disc. command: what is typed to flash, the vendor's way where there is one.
    """

    disc: iso.DiscContent
    output: str
    was: str
    rom: str
    dos_kind: str
    boot_test: bool
    form: layout.Form
    flasher: str = layout.FLASHER
    command: str = ""
    volume: tuple[Entry, ...] = ()

    def entry(self, name: str) -> Entry:
        """A file that DOS will see, by its name on the disc."""
        return next(entry for entry in self.seen() if entry.disc == name)

    def size(self) -> int:
        """Bytes of the finished disc, rounded up."""
        if self.form == "uefi":
            return usb.size(self.volume)
        volume = 0
        if self.volume:
            shape = fat16.layout(self.volume) if self.form == "stick" else uefi.shape(self.volume)
            volume = shape.total * fat16.SECTOR
        return iso.size(self.disc.entries) + volume

    def needed(self) -> int:
        """Bytes that a build takes: with a FAT volume or a boot test there are two copies for a while."""
        return self.size() * (2 if (self.volume and self.form != "uefi") or self.boot_test else 1)

    def seen(self) -> tuple[Entry, ...]:
        """The files that DOS will see."""
        return self.volume if self.form in ("stick", "uefi") else self.disc.entries


def image_beside(path: Path) -> Path:
    """Where the FAT volume of the disc at `path` is made."""
    return path.with_name(f"{path.name}-fat")


def fat_volume(detail: Detail, path: Path) -> Generator[tuple[int, int], None, None]:
    """Make the FAT volume of the disc at `path` and read it back; yields (bytes done, total)."""
    image, start = image_beside(path), fat16.START if detail.form == "stick" else 0
    make = stick.make if detail.form == "stick" else uefi.make
    total = 2 * sum(entry.size for entry in detail.volume)
    with closing(make(detail.volume, image, detail.disc.epoch)) as making:
        for done, _ in making:
            yield done, total
    with closing(fat16.check(detail.volume, image, start)) as checking:
        for done, _ in checking:
            yield total // 2 + done, total


def with_volume(detail: Detail, path: Path) -> iso.DiscContent:
    """The whole disc, once its FAT volume, if it has one, lies beside `path`."""
    if not detail.volume:
        return detail.disc
    name = stick.RAM_DISK if detail.form == "stick" else uefi.EFI_IMAGE
    source = Source(kind="file", path=str(image_beside(path)))
    size, sha256 = source.digest()
    image = Entry(disc=name, name=name.lower(), source=source, size=size, sha256=sha256)
    efi = uefi.EFI_IMAGE if detail.form == "dual" else ""
    return msgspec.structs.replace(detail.disc, entries=(*detail.disc.entries, image), efi=efi)


def write(detail: Detail, path: Path) -> Generator[tuple[int, int], None, None]:
    """Write the whole medium to `path`; yields (bytes done, total). Raises Failed."""
    if detail.form == "uefi":
        return usb.make(detail.volume, path, detail.disc.epoch)
    return iso.write(with_volume(detail, path), path)


def verified(detail: Detail, path: Path) -> Generator[tuple[int, int], None, None]:
    """Read the medium at `path` back; yields (bytes read, total). Raises Failed at the first difference."""
    if detail.form == "uefi":
        return usb.check(detail.volume, path)
    return verify.verify(with_volume(detail, path), path)


@contextmanager
def variant(detail: Detail, other: Mapping[str, Source], path: Path, check: Callable[[], None]) -> Iterator[Path]:
    """A throwaway disc at `path` whose files named in `other` have other bytes; gone afterwards."""
    changed = msgspec.structs.replace(
        detail,
        volume=_with(detail.volume, other),
        disc=msgspec.structs.replace(detail.disc, entries=_with(detail.disc.entries, other)),
    )
    try:
        if changed.volume:
            _run(fat_volume(changed, path), check)
        _run(iso.write(with_volume(changed, path), path), check)
        yield path
    finally:
        path.unlink(missing_ok=True)
        image_beside(path).unlink(missing_ok=True)


def _run(pairs: Generator[tuple[int, int], None, None], check: Callable[[], None]) -> None:
    with closing(pairs):
        for _ in pairs:
            check()


def _with(entries: tuple[Entry, ...], other: Mapping[str, Source]) -> tuple[Entry, ...]:
    return tuple(_replaced(entry, other[entry.disc]) if entry.disc in other else entry for entry in entries)


def _replaced(entry: Entry, source: Source) -> Entry:
    size, sha256 = source.digest()
    return msgspec.structs.replace(entry, source=source, size=size, sha256=sha256)
