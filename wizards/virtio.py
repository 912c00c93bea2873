"""An old guest's way to virtio: which fields stand together, and why they are asked."""

from __future__ import annotations

from tui.wizard import Form, Wizard

CONVERT = Wizard(
    "virtio",
    Form(
        "Image",
        "image",
        "domain",
        "also",
        "backing",
        "format",
        "powered_off",
        why="The guest must be off; an image in use is refused by name.",
    ),
    Form(
        "Names", "from_disk", "to_disk", "kernel", why="What the guest's own files call its disk now, and afterwards."
    ),
    Form(
        "Proof",
        "boot_test",
        "into",
        "keep",
        why="The result boots on a throwaway layer before anything is written.",
    ),
)
