"""What a partition table says, whichever kind it is: what does not fit is told, never followed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Partition:
    """Where it lies, in bytes; `size` never reaches beyond the disk. The rest as the table gives it."""

    name: str
    offset: int
    size: int
    type: str
    uuid: str = ""
    label: str = ""


@dataclass
class Table:
    """`kind` is gpt, mbr or empty for none; `trouble` says what of it could not be believed."""

    kind: str = ""
    partitions: list[Partition] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def add(self, disk: int, number: int, place: tuple[int, int], type_: str, uuid_: str = "", label: str = "") -> None:
        """Take a partition at (offset, size), cut off at the end of the disk."""
        offset, size = place
        if offset >= disk:
            self.trouble.append(f"partition {number} begins at byte {offset}, beyond the end of the disk")
            return
        if offset + size > disk:
            self.trouble.append(f"partition {number} reaches {offset + size - disk} bytes beyond the end of the disk")
        self.partitions.append(Partition(f"p{number}", offset, min(size, disk - offset), type_, uuid_, label))
