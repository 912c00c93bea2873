"""A vendor's BIOS package as it is: what kind, which ROM, which flasher, and what its scripts would do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from engines.biosiso.vendor import batch, ends, inside, rom
from engines.biosiso.vendor.archive import Member, members
from engines.biosiso.vendor.sources import Source, nothing
from engines.job.errors import Refused
from engines.job.params import Params, param

FLASHERS = ("afudosu.smc", "afudosu.exe", "afudos.smc", "afudos.exe")
MOST_SEEN = 6
TOOLS = (".smc", ".exe", ".efi", ".com")
SCRIPTS = (".bat", ".nsh")
OTHER = re.compile(rf"({batch.KNOWN})\.(exe|com)", re.IGNORECASE)
KINDS = {
    "ami-dos": "DOS: AMI.bat renames the flasher and runs it",
    "flash-bat": "DOS: FLASH.BAT is the vendor's way; SuperMicro's compares the flash descriptor first",
    "dos-flasher": "DOS: a flasher without AMI.bat or FLASH.BAT",
    "capsule": "a capsule (.CAP): for the board's own Setup, or a UEFI tool",
    "uefi-only": "UEFI shell: flash.nsh, nothing for DOS",
    "unknown": "not recognised",
}


Kind = Literal["ami-dos", "flash-bat", "dos-flasher", "uefi-only", "capsule", "unknown"]


class Kit(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor package. `home`: the folder in it that holds the flasher; `sha256`: of a zip, empty for a folder."""

    path: str
    sha256: str
    kind: Kind
    members: tuple[Member, ...]
    roms: tuple[rom.Rom, ...]
    scripts: tuple[batch.Script, ...]
    flasher: str = ""
    home: str = ""
    tools: tuple[str, ...] = ()
    readmes: tuple[str, ...] = ()

    def member(self, name: str) -> Member:
        """The file of that exact name."""
        return next(file for file in self.members if file.name == name)

    def script(self, name: str) -> batch.Script | None:
        """The script of that base name in any case, or none."""
        found = [script for script in self.scripts if script.file.rpartition("/")[2].lower() == name]
        return found[0] if found else None

    def vendor_line(self) -> batch.FlashLine | None:
        """The flasher call with which the package's own DOS batch ends; none where more than one can be the last."""
        lines = self.vendor_lines()
        return lines[0] if len(lines) == 1 else None

    def vendor_lines(self) -> tuple[batch.FlashLine, ...]:
        """Every call that can be the last one of its batch, of those that ask for the same the later.

        AMI.bat is asked first, FLASH.BAT then, and all others together.
        """
        scripts = [script for script in self.scripts if script.file.lower().endswith(".bat")]
        programs = {
            file.base.rpartition(".")[0] for file in self.members if file.base.lower().endswith((".com", ".exe"))
        }
        found = ends.Ends(scripts, programs)
        first = [script for name in ("ami.bat", "flash.bat") if (script := self.script(name))]
        started = {name for script in scripts for name in found.called(script)}
        others = [script for script in scripts if script not in first]
        others = [script for script in others if script.file not in started] or others
        for group in (*([script] for script in first), others):
            lasts = [last for last in map(found.of, group) if last and all(map(self._is_ours, last))]
            if lasts:
                return tuple({line.asks: line for last in lasts for line in last}.values())
        return ()

    def _is_ours(self, line: batch.FlashLine) -> bool:
        return line.tool.startswith("afu") if self.is_amis else self._is_flasher(line.tool)

    def called(self) -> str:
        """All that its DOS batches hand to the flasher, one call a line."""
        lines = [line for script in self.scripts if script.file.lower().endswith(".bat") for line in script.flash_lines]
        return "\n".join(line.args for line in lines if self._is_ours(line))

    def _is_flasher(self, tool: str) -> bool:
        return self.flasher.rpartition("/")[2].lower().rpartition(".")[0] == tool

    @property
    def is_amis(self) -> bool:
        """Whether the flasher is AMI's AFUDOS, whose switches are known."""
        return self.flasher.rpartition("/")[2].lower().startswith("afu")

    def mentions(self, name: str) -> bool:
        """Whether one of the package's own scripts names a file of that base name."""
        return any(name.rpartition("/")[2].lower() in script.mentions for script in self.scripts)

    def seen(self) -> str:
        """What lies in it, for a refusal: programs and scripts first."""
        ranked = sorted(self.members, key=lambda file: not file.base.lower().endswith((*TOOLS, *SCRIPTS)))
        more = f" and {len(ranked) - MOST_SEEN} more" if len(ranked) > MOST_SEEN else ""
        return ", ".join(f"{file.name} ({file.size} bytes)" for file in ranked[:MOST_SEEN]) + more

    def writers(self, ending: str) -> tuple[batch.Write, ...]:
        """What scripts with that ending write to the medium."""
        return tuple(
            write for script in self.scripts if script.file.lower().endswith(ending) for write in script.writes
        )


def read(path: Path, check: Callable[[], None] = nothing, flasher: str = "") -> Kit:
    """Read a package and hash every file in it. `flasher` names the one to use. Raises Refused."""
    path = path.resolve()
    files = members(path, check)
    flasher = _flasher(files, path, flasher.strip())
    base = flasher.rpartition("/")[2]
    scripts = tuple(
        batch.read(file.name, _content(file), base) for file in files if file.base.lower().endswith(SCRIPTS)
    )
    sha256 = Source(kind="file", path=str(path)).digest(check)[1] if path.is_file() else ""
    return Kit(
        path=str(path),
        sha256=sha256,
        kind=_kind({file.base.lower() for file in files}, bool(flasher)),
        members=files,
        roms=rom.candidates(files),
        scripts=scripts,
        flasher=flasher,
        home=flasher.rpartition("/")[0],
        tools=tuple(file.name for file in files if file.base.lower().endswith(TOOLS) and file.name != flasher),
        readmes=tuple(file.name for file in files if "readme" in file.base.lower()),
    )


def _content(file: Member) -> bytes:
    with file.source.open() as stream:
        return stream.read(batch.LONGEST)


def _flasher(files: tuple[Member, ...], path: Path, named: str) -> str:
    """The DOS flasher. Raises Refused where two that differ leave open which is meant."""
    found = [file for name in FLASHERS for file in files if file.base.lower() == name]
    if named:
        found = [file for file in files if named.lower() in (file.name.lower(), file.base.lower())]
        if not found:
            tools = ", ".join(file.name for file in files if file.base.lower().endswith(TOOLS)) or "none"
            raise Refused(f"{path} holds no flasher {named!r}", f"its programs are: {tools}")
    elif not found:
        found = [file for file in files if OTHER.fullmatch(file.base)]
    if len({file.sha256 for file in found}) > 1:
        names = " and ".join(file.name for file in found)
        raise Refused(
            f"{path} holds flashers that differ: {names}",
            "name the one that came with this ROM: --flasher NAME, or keep only that one",
        )
    return found[0].name if found else ""


def _kind(bases: set[str], flasher: bool) -> Kind:
    if flasher and "flash.bat" in bases:
        return "flash-bat"
    if flasher and "ami.bat" in bases:
        return "ami-dos"
    if flasher:
        return "dos-flasher"
    if any(base.endswith((".nsh", ".efi")) for base in bases):
        return "uefi-only"
    return "capsule" if any(base.endswith(".cap") for base in bases) else "unknown"


# ── the look ────────────────────────────────────────────────────────────────────────────────────────


class InspectParams(Params, frozen=True, kw_only=True):
    """Parameters of `inspect`."""

    firmware: Annotated[
        str,
        param("Firmware", "The vendor's zip, or the folder it was unpacked into.", kind="file", positional=True),
    ]


def inspect(params: InspectParams) -> dict[str, Any]:
    """What the package is, as plain data; every file with size in bytes and SHA-256."""
    kit = read(Path(params.firmware))
    line, lines = kit.vendor_line(), kit.vendor_lines()
    return {
        "firmware": kit.path,
        "sha256": kit.sha256,
        "kind": kit.kind,
        "roms": [
            {**msgspec.to_builtins(found), "inside": msgspec.to_builtins(inside.read(kit.member(found.name).source))}
            for found in kit.roms
        ],
        "flasher": kit.flasher,
        "vendor_line": line.text if line else "",
        "vendor_lines": [msgspec.to_builtins(each) for each in lines],
        "vendor_switches": line.switches if line else "",
        "writes": [msgspec.to_builtins(write) for script in kit.scripts for write in script.writes],
        "lf_only": [script.file for script in kit.scripts if script.lf_only],
        "tools": list(kit.tools),
        "readmes": list(kit.readmes),
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in kit.members],
    }


def _unsettled(lines: list[dict[str, Any]]) -> str:
    if not lines:
        return "no flash line found"
    return "by a condition, " + " or ".join(f"{each['text']} ({each['file']} line {each['line']})" for each in lines)


def table(found: dict[str, Any]) -> str:
    """`inspect` in lines for people."""
    lines = [f"{found['firmware']}", f"  kind      {found['kind']}: {KINDS[found['kind']]}"]
    lines += [f"  sha256    {found['sha256']}"] if found["sha256"] else []
    for each in found["roms"]:
        date = each["date"] or each["date_note"]
        lines += [f"  ROM       {each['name']}  {each['size']} bytes  board {each['stem'].upper()}  {date}"]
        lines += [f"  in it     {msgspec.convert(each['inside'], inside.Inside).words()}"]
    lines += [] if found["roms"] else ["  ROM       none found"]
    lines += [f"  flasher   {found['flasher'] or 'none found'}"]
    lines += [f"  vendor's  {found['vendor_line'] or _unsettled(found['vendor_lines'])}"]
    lines += [
        f"  writes    {each['file']} line {each['line']}: {each['what']}: {each['text']}" for each in found["writes"]
    ]
    lines += [f"  LF only   {name}: DOS cannot run it; a disc gets it with CRLF" for name in found["lf_only"]]
    lines += ["  files"] + [f"    {each['sha256']}  {each['size']:>10}  {each['name']}" for each in found["files"]]
    return "".join("".join(char if char.isprintable() else ascii(char)[1:-1] for char in line) + "\n" for line in lines)
