"""An old guest's last step: its stock boot entry boots from virtio, too."""

from __future__ import annotations

from tui.wizard import Form, Wizard

RESTOCK = Wizard(
    "virtio-restock",
    Form("Image", "image", "format", "powered_off", why="A converted guest that has been accepted, and is off again."),
    Form("Names", "from_disk", "to_disk", "boot_test", why="As in the conversion."),
    title="make the stock boot entry boot from virtio",
)
