"""A job file: the small YAML text that the wizard writes and the command line runs."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engines.host.files import open_named
from engines.job.errors import BadParam, Refused
from engines.job.params import Params, Secret, fields

# What JSON writes as it is and YAML 1.1 does not take so: unprintable, or an end of line to it.
ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
NAME = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z][a-z_]*")  # a key that needs no quotes

LONGEST = 1 << 20  # bytes of a configuration
LIMIT = 64 * 1024  # bytes; the largest real job is under 1 KiB, and YAML bombs need room


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One task and its parameters as plain values, secrets only as `<name>_file` paths."""

    task: str
    params: dict[str, Any] = {}


def load(path: Path) -> Job:
    """Read a job file. Raises Refused, naming file and line."""
    return parse(own(path, "job file"), str(path))


def own(path: Path, what: str, limit: int = LIMIT) -> bytes:
    """What a file holds that nobody but its reader and root can write, and a byte over `limit` where it is longer.

    what: what it is to be. Raises Refused.
    """
    try:
        with open_named(path) as stream:
            refuse_others(what, path, os.fstat(stream.fileno()))
            return stream.read(limit + 1)
    except OSError as error:
        raise Refused(f"{what} {path}: {error.strerror}", "name a file that can be read") from None


def configured(path: Path, what: str) -> bytes | None:
    """What a file of a technician's own configuration holds, as `own`; None where there is none. Raises Refused."""
    if not os.path.lexists(path):
        return None
    raw = own(path, what, LONGEST)
    if len(raw) > LONGEST:
        raise Refused(f"{what} {path} is over {LONGEST} bytes", "see what it is; it is a line or a few for each entry")
    return raw


def refuse_others(what: str, path: Path, found: os.stat_result) -> None:
    """A job says which command is run for a console, and whose disk is changed: nobody else may have a say in it.

    what: what it is, in a word or two. Raises Refused.
    """
    if not stat.S_ISREG(found.st_mode):
        return  # what a shell hands over by a pipe
    if found.st_uid not in (os.geteuid(), 0):
        raise Refused(f"{what} {path} belongs to user {found.st_uid}", "read it, and take a copy of your own")
    if found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid not in (0, os.getegid())):
        raise Refused(f"{what} {path} can be written by others", f"read it, then: chmod go-w {path}")


def parse(raw: bytes, name: str) -> Job:
    """A job from YAML bytes; `name` is what errors call it."""
    if len(raw) > LIMIT:
        raise Refused(f"job file {name} is over {LIMIT} bytes", "a job file is a few lines; name the right file")
    data = yaml_of(raw, f"job file {name}")
    if not isinstance(data, dict):
        raise Refused(f"job file {name} holds no keys", "write 'task: NAME' and 'params: {...}'")
    for key in data:
        if key not in ("task", "params"):
            raise Refused(f"job file {name}: {key!r} is unknown", "allowed are task and params")
    task, given = data.get("task"), data.get("params", {})
    if not isinstance(task, str):
        raise BadParam("task", task, "the name of a task", f"write 'task: NAME' in {name}")
    if given is None:
        given = {}
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise BadParam("params", given, "keys with values", f"correct params in {name}")
    return Job(task=task, params=given)


def yaml_of(
    raw: bytes, name: str, helps: str = "write 'task: NAME' and 'params: {...}'", *, as_written: bool = False
) -> Any:
    """Plain values from YAML without aliases and without a key given twice. Raises Refused.

    name: as errors call it. helps: what they say to write. as_written: every value is text, none a number or a yes, and
    aliases may be.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader that refuses a key given twice, where YAML would silently take the last, and aliases."""

        if as_written:
            yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # of what is merged in

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    line = key.start_mark.line + 1
                    raise Refused(f"{name} line {line}: a list or keys stand where a name must", "write a name")
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise Refused(f"{name} line {line}: {key.value} is given twice", "keep one")
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent) and not as_written:
                raise Refused(f"{name} uses a YAML alias", "write the value out")
            return super().compose_node(parent, index)

    try:
        return yaml.load(raw, Loader)  # noqa: S506  Loader derives from SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Refused(f"{name} line {line}: {error.problem}", "correct that line") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refused(f"{name} is no YAML: {said}", helps) from None


def dump(job: Job) -> str:
    """The job as YAML text; `parse` gives the same job back.

    Every run writes one, and to load a YAML library for that would take a tenth of its start. Texts, whole numbers and
    lists of them are written as JSON, which YAML holds within itself but for a few characters.
    """
    if not all(NAME.fullmatch(key) and _simple(value) for key, value in job.params.items()):
        import yaml

        return yaml.safe_dump(msgspec.to_builtins(job), sort_keys=False)
    lines = [f"task: {_quoted(job.task)}", "params:" if job.params else "params: {}"]
    return "\n".join([*lines, *(f"  {key}: {_quoted(value)}" for key, value in job.params.items()), ""])


def _simple(value: Any) -> bool:
    """Whether JSON and YAML say it alike; they differ about floats."""
    if isinstance(value, list | tuple):
        return all(_simple(item) for item in value)
    return value is None or isinstance(value, str | int)


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def open_secrets(cls: type[Params], given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with every `<secret>_file` replaced by the Secret read from it. Raises BadParam."""
    opened = dict(given)
    for field in fields(cls):
        key = field.name + "_file"
        if field.shape == "secret" and key in opened:
            path = opened.pop(key)
            opened[field.name] = read_secret(key, Path(str(path)))
    return opened


def read_secret(name: str, path: Path) -> Secret:
    """The first line of a file that only its owner can read. Raises BadParam."""
    try:
        with open_named(path) as stream:
            found = os.fstat(stream.fileno())
            text = stream.read(4096).decode("utf-8", "replace")
    except OSError as error:
        raise BadParam(name, str(path), f"a readable file ({error.strerror})") from None
    if found.st_mode & 0o077 and stat.S_ISREG(found.st_mode):
        raise BadParam(name, str(path), "a file only its owner can read", f"chmod 600 {path}")
    line = text.splitlines()[0] if text else ""
    if not line:
        raise BadParam(name, str(path), "a file with the secret on its first line")
    return Secret(line)
