"""What a switch's answers say, read by label and never by column; what fits nothing is left as it was said."""

from __future__ import annotations

import re

import msgspec

from engines.vdx.line.patterns import Patterns, fits, value

KINDS = {
    "gi": "GigabitEthernet",
    "te": "TenGigabitEthernet",
    "fo": "FortyGigabitEthernet",
    "hu": "HundredGigabitEthernet",
}
LOGICAL = {
    "po": "Port-channel",
    "vl": "Vlan",
    "ve": "Ve",
    "lo": "Loopback",
    "ma": "Management",
    "fi": "FibreChannel",
}
LOGICAL_NAME = re.compile(
    r"(po(?:rt-channel)?|vlan|ve|loopback|management|fi(?:brechannel)?)[\s-]*(\d[\d/]*)", re.IGNORECASE
)
NAME = re.compile(r"([A-Za-z]+)[\s-]*((?:\d{1,3}/)?\d{1,2}/\d{1,3}(?::[1-4])?)")
STATE = re.compile(
    r"^[ \t]*([A-Za-z][\w-]*[ \t]+\S+) is ([^,\n]+), line protocol is (\w+)(?:[ \t]*\(([^)\n]*)\))?",
    re.IGNORECASE | re.MULTILINE,
)
DIGITS = re.compile(r"[0-9]{1,9}")  # as far as any number here goes
STATUS = re.compile(r"online|offline|unknown|disconnecting|co-ordinator|(re)?joining", re.IGNORECASE)
AWAY = re.compile(r"offline|unknown|disconnecting", re.IGNORECASE)
WWN = re.compile(r"(>?)((?:[0-9A-Fa-f]{2}:){7}[0-9A-Fa-f]{2})(\*?)")


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port as `show interface` tells it: `line` is up or down (or the switch's own word), `reason` verbatim."""

    name: str
    state: str
    line: str
    reason: str
    raw: str

    @property
    def up(self) -> bool:
        """Line protocol is up."""
        return self.line.lower() == "up"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `show vcs`. online: nothing in it says that the fabric counts it and does not reach it."""

    rbridge: int
    wwn: str
    name: str
    here: bool
    principal: bool
    online: bool = True


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """What LLDP sees at one port; `chassis` a MAC, `address` the management address, as far as it says them."""

    local: str
    remote: str
    system: str
    chassis: str = ""
    address: str = ""


class IslPort(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `show fabric islports`."""

    name: str
    state: str
    says: str


def interface_name(text: str) -> str:
    """An interface's full name from any of its spellings; empty where it is none."""
    found = NAME.fullmatch(text.strip())
    full = KINDS.get(found[1][:2].lower()) if found else None
    if not found or not full or not full.lower().startswith(found[1].lower()):
        return ""
    return f"{full} {found[2]}"


def block_name(text: str) -> str:
    """The name of anything that has a configuration block of its own, logical ones too; empty where it is none."""
    found = LOGICAL_NAME.fullmatch(text.strip())
    return f"{LOGICAL[found[1][:2].lower()]} {found[2]}" if found else interface_name(text)


def physical(name: str) -> bool:
    """Whether a full name is that of a port with a cable in it."""
    return bool(interface_name(name))


def ports(answer: str) -> list[Port]:
    """Every port in an answer of `show interface`."""
    found = STATE.finditer(answer)
    return [
        Port(
            name=block_name(one[1]) or " ".join(one[1].split()),
            state=one[2].strip(),
            line=one[3],
            reason=(one[4] or "").strip(),
            raw=one[0].strip(),
        )
        for one in found
    ]


def port(answer: str, name: str) -> Port | None:
    """The port that was asked for; where it has another name (no rbridge-id), the only one that was told."""
    found = ports(answer)
    named = next((one for one in found if one.name.lower() == name.lower()), None)
    return named or (found[0] if len(found) == 1 else None)


def switched(config: list[str], word: str) -> str:
    """on, off or unknown: `fabric isl` or `fabric trunk` in a port's config, short forms understood."""
    for line in config:
        words = line.split()
        if words[:2] == ["fabric", word] and words[2:] in ([], ["enable"]):
            return "on"
        if words[:3] == ["no", "fabric", word] and words[3:] in ([], ["enable"]):
            return "off"
    return "off" if config else "unknown"  # a running-config shows the enabled one; three public samples do


def number(wordings: tuple[str, ...], answer: str) -> int | None:
    """A number that stands behind a label; None where it is not there."""
    text = value(wordings, answer)
    return int(text) if DIGITS.fullmatch(text) else None


def members(answer: str) -> list[Member]:
    """The rows of `show vcs`, by their WWN; `>` marks the principal and `*` this switch."""
    rows = []
    for line in answer.splitlines():
        found = WWN.search(line)
        before = line[: found.start()].split() if found else []
        if found and before and DIGITS.fullmatch(before[0]):
            words = line[found.end() :].split()
            rows.append(
                Member(
                    rbridge=int(before[0]),
                    wwn=found[2].lower(),
                    name=words[-1] if words and not STATUS.fullmatch(words[-1]) else "",
                    here="*" in found[3],
                    principal=">" in found[1],
                    online=not any(
                        AWAY.fullmatch(word)
                        for word in (words[:-1] if any(map(STATUS.fullmatch, words[:-1])) else words)
                    ),
                )
            )
    return rows


def neighbours(answer: str) -> list[Neighbour]:
    """Every neighbour in `show lldp neighbors detail`."""
    found = []
    for part in re.split(r"(?im)^(?=[ \t]*local interface[ \t]*:)", answer):
        local = re.search(r"(?im)^[ \t]*local interface[ \t]*:[ \t]*([a-z]{1,40}[ \t]{0,9}\d[\d/:]*|\w+ ?\S+)", part)
        far = _tlv(part, "remote interface").partition("(")[0].strip()
        system = _tlv(part, "system name").strip('"')
        if local and (far or system):
            found.append(
                Neighbour(
                    local=interface_name(local[1]) or local[1],
                    remote=interface_name(far) or far,
                    system=system,
                    chassis=_tlv(part, "chassis id").partition(" ")[0],
                    address=_tlv(part, "management address").partition(" ")[0],
                )
            )
    return found


def _tlv(part: str, label: str) -> str:
    """What stands behind a label, on its line."""
    found = re.search(rf"(?im)^[ \t]*{label}[ \t]*:[ \t]*(?:\([\w ]+\)[ \t]*)?(\S.*)$", part)
    return found[1].strip(" \t") if found else ""


def islports(answer: str) -> list[IslPort]:
    """The rows of `show fabric islports`."""
    found = re.finditer(r"(?im)^[ \t]*\d+[ \t]+([A-Za-z]+ \d\S*)[ \t]+(\w+)(.*)$", answer)
    return [IslPort(name=interface_name(row[1]) or row[1], state=row[2], says=row[3].strip(" \t")) for row in found]


def isl_peers(answer: str) -> list[str]:
    """The WWNs that `show fabric isl` or `islports` has an ISL to, lower case."""
    rows = [line for line in answer.splitlines() if re.search(r"\b[A-Za-z]{2}[\w-]{0,40} \d{1,3}/\d", line)]
    return [found[2].lower() for line in rows if (found := WWN.search(line))]


def spanning_port_channels(answer: str, rbridge: int | None) -> list[str]:
    """Port channels with members on this rbridge and on another (a vLAG), from `show port-channel`."""
    found = []
    for part in re.split(r"(?im)^(?=.*\bPo(?:rt-channel)?[ ]?\d+)", answer):
        name = re.search(r"(?i)\bPo(?:rt-channel)?[ ]?(\d+)", part)
        ids = {int(one) for one in re.findall(r"(?i)rbridge-id:?[ \t]*(\d{1,9})\b", part)}
        if name and len(ids) > 1 and (rbridge is None or rbridge in ids):
            found.append(f"Port-channel {name[1]}")
    return found


def other_sessions(answer: str) -> list[str]:
    """The rows of `show users`, as they stand, apart from heads."""
    head, _, _ = answer.partition("LOCKED")
    return [line.strip() for line in head.splitlines() if re.search(r"\d{1,2}:\d\d(:\d\d)?\s*$", line)]


def uptime(answer: str, patterns: Patterns) -> int | None:
    """Seconds, from `show system`: "up 2 days, 3:04", "2 days 1:02:03", "up 5 min"; None where it says otherwise."""
    text = value(patterns.up_time, answer)
    seconds, understood = 0, False
    for count, unit in re.findall(
        r"(\d{1,9})\s{0,9}(years?|weeks?|days?|hours?|hrs?|min(?:ute)?s?|sec(?:ond)?s?)\b", text, re.IGNORECASE
    ):
        scale = {"y": 31536000, "w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}[unit[0].lower()]
        seconds, understood = seconds + int(count) * scale, True
    if clock := re.search(r"\b(\d{1,2}):(\d\d)(?::(\d\d))?\b", text):
        seconds += int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0)
        understood = True
    return seconds if understood else None


def mode(answer: str, patterns: Patterns, version: str = "") -> tuple[str, str]:
    """(fabric-cluster, logical-chassis, disabled or unknown; the switch's own words).

    Releases that name no VCS mode name a config mode; before 4.0 there was only the fabric cluster.
    """
    if off := fits(patterns.vcs_disabled, answer):
        return "disabled", off[0].strip()
    words = value(patterns.vcs_mode, answer)
    said = words or value(patterns.vcs_config_mode, answer)
    if fits(patterns.mode_logical_chassis, said):
        return "logical-chassis", said
    if fits(patterns.mode_fabric_cluster, said) or (not said and version[:2] in ("2.", "3.")):
        return "fabric-cluster", said or f"no VCS mode, as NOS {version} has it"
    return "unknown", said
