"""The wordings of patterns.yaml and of the technician's own file, ready to match."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import msgspec

from engines.job import folders, jobfile
from engines.job.errors import Refused

Wordings = tuple[str, ...]


class Patterns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """patterns.yaml, key by key; what each means is said there."""

    error: Wordings = ()
    syntax_error: Wordings = ()
    no_rights: Wordings = ()
    going_down: Wordings = ()
    taken: Wordings = ()
    not_taken: Wordings = ()
    initialising: Wordings = ()
    noise: Wordings = ()
    more: Wordings = ()
    confirm_y: Wordings = ()
    confirm_yes: Wordings = ()
    vcs_question: Wordings = ()
    save_question: Wordings = ()
    console_login: Wordings = ()
    console_password: Wordings = ()
    console_denied: Wordings = ()
    reason_admin_down: Wordings = ()
    reason_no_light: Wordings = ()
    reason_isl_off: Wordings = ()
    reason_segmented: Wordings = ()
    islport_segmented: Wordings = ()
    vcs_id: Wordings = ()
    vcs_mode: Wordings = ()
    vcs_config_mode: Wordings = ()
    vcs_disabled: Wordings = ()
    mode_fabric_cluster: Wordings = ()
    mode_logical_chassis: Wordings = ()
    up_time: Wordings = ()
    nos_version: Wordings = ()
    vcs_command: Wordings = ()
    never_restored: Wordings = ()
    never_removed: Wordings = ()
    factory_user: Wordings = ()
    legacy_kex: Wordings = ()
    legacy_hostkey: Wordings = ()
    legacy_cipher: Wordings = ()
    legacy_mac: Wordings = ()


LITERAL = ("vcs_command", "factory_user", "legacy_kex", "legacy_hostkey", "legacy_cipher", "legacy_mac")


def own_file() -> Path:
    """Where a technician adds wordings."""
    return folders.config("vdx-patterns.yaml")


def load() -> Patterns:
    """The wordings, the technician's own behind ours. Raises Refused, naming the file and the line at fault."""
    own = own_file()
    try:
        stamp = own.stat().st_mtime_ns
    except OSError:
        stamp = 0
    return _load(own, stamp)


@functools.cache
def _load(own: Path, stamp: int) -> Patterns:
    shipped = Path(__file__).with_name("patterns.yaml")
    given = _read(shipped, shipped.read_bytes())
    if not stamp:
        return given
    added = _read(own, jobfile.configured(own, "file of wordings") or b"")
    return Patterns(**{name: getattr(given, name) + getattr(added, name) for name in Patterns.__struct_fields__})


def _read(path: Path, text: bytes) -> Patterns:
    import yaml

    try:
        raw: Any = yaml.safe_load(text) or {}
        found = msgspec.convert(raw, Patterns)
    except (RecursionError, yaml.YAMLError, msgspec.ValidationError) as error:
        said = " ".join(str(error).split())
        raise Refused(f"{path}: {said}", "correct it, or take it away") from None
    for name in Patterns.__struct_fields__:
        for wording in getattr(found, name):
            _checked(path, name, wording)
    return found


def _checked(path: Path, name: str, wording: str) -> None:
    if name in LITERAL:
        return
    try:
        re.compile(wording)
    except re.error as error:
        raise Refused(f"{path}: {name}: {wording!r} is no regular expression ({error})", "correct that line") from None


@functools.cache
def _compiled(wordings: Wordings) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{wording})" for wording in wordings) or r"(?!)", re.IGNORECASE | re.MULTILINE)


def fits(wordings: Wordings, text: str) -> re.Match[str] | None:
    """The first place in `text` that one of the wordings fits; ^ and $ are a line's."""
    return _compiled(wordings).search(text)


def value(wordings: Wordings, text: str) -> str:
    """The first group of the first wording that fits, without blanks around it; empty where none does."""
    for wording in wordings:
        found = re.search(wording, text, re.IGNORECASE | re.MULTILINE)
        if found and found.groups():
            return str(found[1]).strip()
    return ""
