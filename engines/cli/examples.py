"""An example command line of every verb, made from its declared parameters."""

from __future__ import annotations

import shlex

from engines.job.params import Field, Params, fields

VALUES = {
    "action": "sweep",
    "at": "20260101T030000Z",
    "bmc": "bmc.example.net",
    "board": "X9SCM-F",
    "dest": "/root/taken",
    "dos": "FDOEMCD.builder/",
    "file": "/mnt/usb/web1.tar",
    "firmware": "x9scm2_608.zip",
    "folder": "/mnt/point",
    "image": "web1.img",
    "interface": "TenGigabitEthernet 1/0/5",
    "into": "/var/lib/libvirt/images/web1.img",
    "iso": "bios.iso",
    "name": "shop.example.net",
    "nbd": "/run/web1.sock",
    "new": "web1/disk0@latest",
    "old": "web1/disk0@20260101T030000Z",
    "output": "bios.iso",
    "pattern": "fstab",
    "point": "web1/disk0@latest",
    "repo": "/srv/repo",
    "run": "last",
    "source": "/var/lib/libvirt/images/web1.img",
    "switch": "sw1",
    "to": "/srv/second",
    "target": "/var/lib/libvirt/images/new.img",
    "user": "admin",
    "vm": "web1",
}
PLACES = {"paths": "web1/disk0@latest:/etc/fstab", "where": "web1:/etc/fstab", "path": "/etc"}
TEXTS = {"to": "web2"}  # where the parameter of that name is no place
SHOWN = ("repo", "board", "iso")  # options that nearly every call of their verb gives


def example(prog: str, cls: type[Params]) -> str:
    """`crashcart backup restore web1/disk0@latest new.img --repo /srv/repo`."""
    declared = fields(cls)
    words = [prog, *(shlex.quote(value(field)) for field in declared if field.positional and _given(field))]
    for field in declared:
        if not field.positional and (field.required or field.name in SHOWN):
            words += [f"{field.flag}-file pw"] if field.shape == "secret" else [field.flag, shlex.quote(value(field))]
    return " ".join(words)


def _given(field: Field) -> bool:
    return field.required or field.name in SHOWN


def value(field: Field) -> str:
    """A likely value of a parameter; its own name where nothing better is known."""
    if field.choices and VALUES.get(field.name) not in field.choices:
        return field.choices[0]
    if field.shape in ("int", "float"):
        return "1" if field.default is None else str(field.default)
    if field.kind == "text" and field.name in TEXTS:
        return TEXTS[field.name]
    return VALUES.get(field.name) or PLACES.get(field.name) or field.metavar
