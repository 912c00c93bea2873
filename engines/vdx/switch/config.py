"""A running-config as blocks of lines: whether a copy is whole, what a change lost, and in which order it goes back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from engines.vdx.line.patterns import Patterns, fits
from engines.vdx.switch.parse import block_name, interface_name

BlockPath = tuple[str, ...]
Blocks = dict[BlockPath, list[str]]
Entry = tuple[BlockPath, str]
"""A line under its headers; an empty line stands for the block itself."""

STAMP = re.compile(r"^!(Command|Time)\b.*$\n?", re.MULTILINE)
QUOTED = re.compile(r'(?<!\S)"(?:[^"\\]|\\.)*"', re.DOTALL)
OPENS = re.compile(r'(?<!\S)"')
HEADS = {"interface", "rbridge-id", "protocol", "policy-map", "class-map", "cee-map", "fcoe", "line"}
"""First words that always open a block; others do so in one line and stand flat in the next, as `ntp server` does."""
LONGEST = 100  # lines of one quoted value, such as a banner
UNTYPABLE = re.compile(r"[?\x00-\x1f\x7f]")  # `?` calls the help, control keys edit the line
PORT_WORD = (
    r"((?:Gigabit|TenGigabit|FortyGigabit|HundredGigabit)Ethernet|Management|FibreChannel|[tT]e|[fF][oi]|[gG]i|[hH]u)"
)


def digest(text: str) -> str:
    """SHA-256 hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def tidy(answer: str) -> str:
    """The config in an answer: no time stamps, no blank ends, one newline at the end."""
    lines = [line.rstrip() for line in STAMP.sub("", answer).strip("\n").splitlines()]
    return "\n".join(lines) + "\n" if lines else ""


def blocks(text: str) -> Blocks:
    """Lines by the headers they stand under; a header is followed by a deeper line or by its own `!`."""
    lines = list(_logical(text))
    found: Blocks = {(): []}
    path: list[tuple[int, str]] = []
    for at, line in enumerate(lines):
        depth = len(line) - len(line.lstrip(" "))
        words = line.strip()
        while path and path[-1][0] >= depth:
            path.pop()
        if not words or words.startswith("!"):
            continue
        headers = tuple(header for _, header in path)
        if _opens(lines, at, depth):
            path.append((depth, words))
            found.setdefault((*headers, words), [])
        else:
            found.setdefault(headers, []).append(words)
    return found


def _opens(lines: list[str], at: int, depth: int) -> bool:
    if at + 1 >= len(lines):
        return False
    after = lines[at + 1]
    deeper = len(after) - len(after.lstrip(" "))
    return deeper > depth or (after.strip() == "!" and deeper == depth)


def _logical(text: str) -> Iterator[str]:
    """Lines, one with an open quote joined to what follows it, where that closes it; 5" is an inch, and opens none."""
    left, at = text.splitlines(), 0
    while at < len(left):
        end = next((end for end in range(at + 1, min(at + LONGEST, len(left)) + 1) if not _open(left[at:end])), at + 1)
        yield "\n".join(left[at:end])
        at = end


def _open(lines: list[str]) -> bool:
    return bool(OPENS.search(QUOTED.sub("", "\n".join(lines))))


def unfinished(text: str, ports: list[str]) -> str:
    """Why a copy of a config cannot be whole; empty where nothing speaks against it."""
    lines = text.splitlines()
    if len(lines) < 3:
        return f"it has {len(lines)} lines"
    if lines[-1].startswith(" "):
        return f"it ends inside a block ({lines[-1].strip()!r})"
    if lines[-1].split(" ", 1)[0] in HEADS:
        return f"it ends with the head of a block ({lines[-1].strip()!r})"
    missing = without_block(text, ports)
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"it has no block for {', '.join(missing[:3])}{more}"
    return ""


def without_block(text: str, names: list[str]) -> list[str]:
    """Those of the interfaces that have no block, neither at the top nor inside another (a Ve lies in its rbridge)."""
    found = blocks(text)
    lines = [path[-1] for path in found if path] + [line for inner in found.values() for line in inner]
    known = {block_name(line.split(" ", 1)[1]) for line in lines if line.lower().startswith("interface ")}
    return [name for name in names if (block_name(name) or name) not in known]


def lost(before: Blocks, now: Blocks, patterns: Patterns) -> list[Entry]:
    """What `before` has and `now` has not, in the order it goes back."""
    found: list[Entry] = []
    for path, lines in before.items():
        if path and fits(patterns.never_restored, path[0]):
            continue
        if path not in now and not lines:
            found.append((path, ""))
        have = set(now.get(path, ()))
        found += [(path, line) for line in lines if line not in have and not fits(patterns.never_restored, line)]
    return sorted(found, key=_rank)


def added(before: Blocks, now: Blocks, patterns: Patterns) -> list[Entry]:
    """The commands that take away what `now` has more than `before`, within the blocks that both have."""
    found = []
    for path, lines in now.items():
        if path in before and not (path and fits(patterns.never_removed, path[0])):
            had = set(before[path])
            more = [line for line in lines if line not in had and not fits(patterns.never_removed, line)]
            found += [(path, opposite(line)) for line in more]
    return sorted(found, key=_rank)


def differences(before: Blocks, now: Blocks) -> list[str]:
    """Every line that one has and the other has not, as a diff shows it."""
    found = []
    for path in dict.fromkeys((*before, *now)):
        old, new = before.get(path, []), now.get(path, [])
        head = " / ".join(path) + ": " if path else ""
        had, have = set(old), set(new)
        found += [f"-{head}{line}" for line in old if line not in have]
        found += [f"+{head}{line}" for line in new if line not in had]
        if path and (path in before) != (path in now) and not old and not new:
            found.append(("-" if path in before else "+") + " / ".join(path))
    return found


def opposite(line: str) -> str:
    """The command that undoes a config line."""
    return line.removeprefix("no ") if line.startswith("no ") else f"no {line}"


FIRST = ("interface Management", "interface Vlan", "interface Port-channel")
"""The way in; then what a Ve and a port's channel-group refer to."""


def _rank(entry: Entry) -> int:
    """Management address first, ports last but for the users; else as it was (sort is stable)."""
    path, line = entry
    top = path[0] if path else line
    if line.startswith("username "):
        return 9
    if top.startswith(FIRST[0]):
        return 0
    if not path:
        return 1
    early = next((at for at, start in enumerate(FIRST) if top.lower().startswith(start.lower())), 0)
    return 1 + early if early else (5 if top.startswith("interface ") else 4)


def ordered(entries: list[Entry]) -> list[Entry]:
    """Entries with each block's shutdown state behind its other lines."""
    found: list[Entry] = []
    for path in dict.fromkeys(path for path, _ in entries):
        mine = [entry for entry in entries if entry[0] == path]
        found += [entry for entry in mine if entry[1].removeprefix("no ") != "shutdown"]
        found += [entry for entry in mine if entry[1].removeprefix("no ") == "shutdown"]
    users = [entry for entry in found if entry[1].startswith("username ")]
    return [entry for entry in found if entry not in users] + users


def typable(entry: Entry) -> bool:
    """Whether it can be typed at a command line as it stands."""
    return not any(UNTYPABLE.search(part) for part in (*entry[0], entry[1]))


def renumbered(text: str, old: int, new: int) -> str:
    """A config of rbridge `old` as it reads on rbridge `new`."""
    text = re.sub(rf"(?m)^rbridge-id {old}$", f"rbridge-id {new}", text)
    return re.sub(rf"\b{PORT_WORD} {old}/(?=\d)", rf"\g<1> {new}/", text)


def port_lines(text: str, name: str) -> list[str]:
    """The lines of one port, found by its name in any spelling."""
    for path, lines in blocks(text).items():
        if len(path) == 1 and path[0].lower().startswith("interface") and interface_name(path[0][9:]) == name:
            return lines
    return []


def typed(entries: list[Entry]) -> list[str]:
    """What is typed in config mode: headers and exits around the lines."""
    out: list[str] = []
    at: BlockPath = ()
    for path, line in entries:
        shared = 0
        while shared < min(len(at), len(path)) and at[shared] == path[shared]:
            shared += 1
        out += ["exit"] * (len(at) - shared) + list(path[shared:]) + ([line] if line else [])
        at = path
    return out + ["exit"] * len(at)
