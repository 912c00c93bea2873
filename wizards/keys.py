"""Who can open a locked repository: a key added, one put in another's place, a lost one taken out."""

from __future__ import annotations

from tui.wizard import Form
from wizards.browse import task

NEW = ("new_passphrase",)
NAMES = "Each key has a name of its own; crashcart backup key list shows them."

ADD = task(
    "backup-key-add",
    "Add a key",
    "another way into a locked repository",
    Form("Key", "name", "new_key_file", *NEW, why=NAMES, twice=NEW),
)
ROTATE = task(
    "backup-key-rotate",
    "Change a key",
    "put a new key in the place of an old one",
    Form("Key", "name", "new_key_file", *NEW, why=NAMES, twice=NEW),
)
REMOVE = task(
    "backup-key-remove", "Remove a key", "take a lost key out of a locked repository", Form("Key", "name", why=NAMES)
)
KEYS = (ADD, ROTATE, REMOVE)
