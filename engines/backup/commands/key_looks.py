"""backup key list and paper: what opens a repository, and a sheet to print and keep; no key is needed to see them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from engines.backup.repository import config
from engines.backup.repository.repository import RepoParams, Repository, where
from engines.job.contract import Look
from engines.job.units import one_line


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way in: its name, key-file or passphrase, and since when."""

    name: str
    kind: str
    added: str


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """What opens a repository; empty where it is not locked."""

    repo: str
    cipher: str
    keys: list[KeyRow]


def listed(params: RepoParams) -> KeyList:
    """The ways in; no key is needed to see them. Raises Refused, Damaged."""
    with Repository.glance(where(params)) as glance:
        found, place = glance.config, glance.store.where
    rows = [
        KeyRow(name=way.name, kind="passphrase" if way.kind == "scrypt" else way.kind, added=way.added)
        for way in config.ways(found)
    ]
    return KeyList(repo=place, cipher=found.cipher, keys=rows)


def table(found: KeyList) -> str:
    """The same in lines."""
    if not found.keys:
        return f"{found.repo} is not locked"
    width = max(len(row.name) for row in found.keys)
    return "\n".join(one_line(f"{row.name:{width}}  {row.kind:10}  since {row.added}") for row in found.keys)


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery sheet: `config` is config.json, line by line as it must be typed to have it again."""

    repo: str
    id: str
    keys: list[KeyRow]
    config: list[str]


def paper(params: RepoParams) -> Paper:
    """The sheet; it opens nothing without one of the keys. Raises Refused, Damaged."""
    with Repository.glance(where(params)) as glance:
        lines = config.written(glance.config).decode().splitlines()
        return Paper(repo=glance.store.where, id=glance.config.id, keys=listed(params).keys, config=lines)


def sheet(found: Paper) -> str:
    """The same, to be printed."""
    return "\n".join(map(one_line, _sheet(found)))


def _sheet(found: Paper) -> Iterator[str]:
    yield f"RECOVERY SHEET of the backup repository {found.repo}"
    yield ""
    if found.keys:
        yield "It is opened by any one of these, none of which is on this sheet. Keep one with it, not in it:"
        yield from (
            f"    {row.name}: {row.kind}, since {row.added}: ______________________________" for row in found.keys
        )
    else:
        yield "IT IS NOT LOCKED: who has the repository can read it."
    yield ""
    yield "See what is there:  crashcart backup list --repo REPO [--key-file FILE | --passphrase-file FILE]"
    yield "Restore:            crashcart backup restore VM/DISK@latest TARGET --repo REPO [the same]"
    yield "Without crashcart:  engines/backup/FORMAT.md in its source says where every byte lies"
    yield ""
    yield "Where config.json was lost, type it as it stands between the lines, without the marks at the left; its check"
    yield "proves the whole, and each mark its line (the first 4 hex digits of the line's SHA-256, spaces left out):"
    yield "-" * 100
    for line in found.config:
        mark = hashlib.sha256(line.replace(" ", "").encode()).hexdigest()[:4]
        yield from (f"{mark}  {line[:92]}", *(f"   +  {line[at : at + 92]}" for at in range(92, len(line), 92)))
    yield "-" * 100


LOOKS = (
    Look("key-list", "what opens a locked repository", RepoParams, listed, table),
    Look(
        "key-paper", "a sheet to print and keep: what a repository needs to be opened again", RepoParams, paper, sheet
    ),
)
