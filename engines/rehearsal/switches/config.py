"""A running-config as a tree of lines, changed by a line and shown as ConfD shows it."""

from __future__ import annotations

import re

Tree = dict[str, "Tree | None"]

TOGGLES = ("shutdown", "fabric isl enable", "fabric trunk enable")
SINGLE = (
    "mtu ",
    "description ",
    "switchport mode ",
    "ip address ",
    "exec-timeout ",
    "switch-attributes host-name ",
    "switch-attributes chassis-name ",
    "channel-group ",
    "system-description ",
    "host-name ",
    "username admin ",
    "snmp-server location ",
)
ORDER = (
    "switch-attributes",
    "line vty",
    "vcs",
    "snmp-server",
    "username",
    "rbridge-id",
    "interface Vlan",
    "interface Management",
    "interface Port-channel",
    "interface Ten",
    "protocol",
    "vlan",
    "ip ",
    "mtu",
    "description",
    "channel-group",
    "switchport",
    "no switchport",
    "spanning-tree",
    "fabric isl",
    "no fabric isl",
    "fabric trunk",
    "no fabric trunk",
    "fabric neighbor",
    "shutdown",
    "no shutdown",
)
HEADERS = re.compile(r"(line vty|rbridge-id \d+|interface \S+ \S+|protocol \w+|router \w+.*|interface Vlan \d+)$")


def parse(text: str) -> Tree:
    """A tree from indented lines; `!` closes a block."""
    root: Tree = {}
    path: list[tuple[int, Tree]] = [(-1, root)]
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line == "!":
            continue
        depth = len(raw) - len(raw.lstrip())
        while path[-1][0] >= depth:
            path.pop()
        inner: Tree | None = {} if HEADERS.match(line) else None
        path[-1][1][line] = inner
        if inner is not None:
            path.append((depth, inner))
    return root


def show(tree: Tree, *, hide_off: bool = False, indent: int = 0) -> list[str]:
    """The lines, in schema order."""
    lines: list[str] = []
    for line in sorted(tree, key=_rank):
        inner = tree[line]
        if hide_off and line.startswith("no fabric "):
            continue
        lines.append(" " * indent + line)
        if inner is not None:
            lines += show(inner, hide_off=hide_off, indent=indent + 1)
            lines.append(" " * indent + "!")
    return lines


def _rank(line: str) -> tuple[int, list[int | str]]:
    rank = next((at for at, start in enumerate(ORDER) if line.startswith(start)), len(ORDER))
    return rank, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", line)]


def put(tree: Tree, line: str) -> None:
    """Change the tree by one config line."""
    bare = line.removeprefix("no ")
    bare = {"fabric isl": "fabric isl enable", "fabric trunk": "fabric trunk enable"}.get(bare, bare)
    if bare in TOGGLES:
        tree.pop(bare, None)
        tree.pop("no " + bare, None)
        tree[f"no {bare}" if line.startswith("no ") else bare] = None
        return
    if line.startswith("no "):
        for known in [key for key in tree if key == bare or key.startswith(bare + " ")]:
            del tree[known]
        if bare.startswith("switchport trunk tag"):
            tree[line] = None
        return
    single = next((start for start in SINGLE if line.startswith(start)), None)
    for known in [key for key in tree if single and key.startswith(single)]:
        del tree[known]
    tree.setdefault(line, {} if HEADERS.match(line) else None)


def block(tree: Tree, header: str) -> Tree | None:
    """The block under a header, compared without regard to case; None where there is none."""
    return next((inner for line, inner in tree.items() if inner is not None and line.lower() == header.lower()), None)
