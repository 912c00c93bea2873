"""A task's parameters, declared once: from here come CLI options, form fields, job-file checks and JSON schema."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from engines.job.errors import ONE_OF, BadParam, Refused


class Secret:
    """A password or key held in memory only: its repr, str and serialised form never show it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        from engines.host.child import unread_by_others

        unread_by_others()
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"


class Params(msgspec.Struct, frozen=True, kw_only=True):
    """Root of every task's parameters; a subclass checks what spans several fields in `__post_init__`."""

    def asks(self) -> tuple[str, ...]:
        """Names of secrets that were not given and that the run will ask for. Raises Refused."""
        return ()


def param(
    label: str,
    why: str,
    *,
    ge: int | None = None,
    le: int | None = None,
    pattern: str | None = None,
    allowed: str = "",
    kind: Literal["text", "file", "folder", "output", "host", "memo", "command"] = "text",
    metavar: str = "",
    positional: bool = False,
) -> msgspec.Meta:
    """Declare one parameter inside `Annotated[...]`.

    label: the form's caption. why: one line under the field and the CLI's help.
    allowed: words for what is accepted, where bounds alone do not say it (a `pattern` needs them).
    kind: a command is run on this machine, as early as for the plan.
    """
    extra = {"allowed": allowed, "kind": kind, "metavar": metavar, "positional": positional}
    bounds: dict[str, Any] = {"ge": ge, "le": le, "pattern": pattern}
    stated = {name: bound for name, bound in bounds.items() if bound is not None}
    return msgspec.Meta(title=label, description=why, extra=extra, **stated)


@dataclass(frozen=True)
class Field:
    """One declared parameter. `shape` is text, int, float, flag, choice, list or secret; `annotation` its full type."""

    name: str
    label: str
    why: str
    shape: str
    kind: str
    required: bool
    default: Any
    choices: tuple[str, ...]
    allowed: str
    metavar: str
    positional: bool
    annotation: Any

    @property
    def flag(self) -> str:
        """The CLI option, such as --from-disk."""
        return "--" + self.name.rstrip("_").replace("_", "-")  # a name that Python keeps for itself ends in _


P = TypeVar("P", bound=Params)


def commands(cls: type[Params], given: Mapping[str, Any]) -> dict[str, str]:
    """The commands among plain values, by the names of their parameters: what would be run on this machine."""
    return {
        field.name: str(given[field.name]) for field in fields(cls) if field.kind == "command" and given.get(field.name)
    }


@lru_cache
def fields(cls: type[Params]) -> tuple[Field, ...]:
    """Every parameter of `cls`, in the order of declaration."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_field(info, hints[info.name]) for info in msgspec.structs.fields(cls))


def _field(info: msgspec.structs.FieldInfo, hint: Any) -> Field:
    bare, meta = _unwrap(hint)
    shape, choices = _shape(bare)
    extra: Mapping[str, Any] = meta.extra or {}
    default = info.default
    if default is msgspec.NODEFAULT and info.default_factory is not msgspec.NODEFAULT:
        default = info.default_factory()
    return Field(
        name=info.name,
        label=meta.title or info.name,
        why=meta.description or "",
        shape=shape,
        kind=extra.get("kind", "text"),
        required=info.required,
        default=None if default is msgspec.NODEFAULT else default,
        choices=choices,
        allowed=extra.get("allowed") or _allowed(shape, choices, meta),
        metavar=extra.get("metavar", "") or info.name.upper(),
        positional=bool(extra.get("positional")),
        annotation=hint,
    )


def _unwrap(hint: Any) -> tuple[Any, msgspec.Meta]:
    if typing.get_origin(hint) is typing.Annotated:
        bare, *extras = typing.get_args(hint)
        return bare, next((m for m in extras if isinstance(m, msgspec.Meta)), msgspec.Meta())
    return hint, msgspec.Meta()


def _shape(bare: Any) -> tuple[str, tuple[str, ...]]:
    origin = typing.get_origin(bare)
    if origin in (typing.Union, types.UnionType):
        present = [arm for arm in typing.get_args(bare) if arm is not type(None)]
        return _shape(present[0])
    if origin is Literal:
        return "choice", tuple(str(arm) for arm in typing.get_args(bare))
    if origin is tuple:
        return "list", ()
    named = {bool: "flag", int: "int", float: "float", Secret: "secret"}
    return named.get(bare, "text"), ()


def _allowed(shape: str, choices: tuple[str, ...], meta: msgspec.Meta) -> str:
    if shape == "choice":
        return ONE_OF + ", ".join(choices)
    if shape == "flag":
        return "yes or no (true, false)"
    if shape == "list":
        return "a list of texts"
    if shape in ("int", "float"):
        word = "a whole number" if shape == "int" else "a number"
        if meta.ge is not None and meta.le is not None:
            return f"{word} from {meta.ge} to {meta.le}"
        return f"{word} of {meta.ge} or more" if meta.ge is not None else word
    return f"text like {meta.pattern}" if meta.pattern else "text (in quotes where it looks like a number)"


def convert(cls: type[P], given: Mapping[str, Any], *, task: str = "") -> P:
    """`cls` from plain values (YAML, CLI strings, form texts). Raises BadParam or Refused, naming key and value."""
    known = {field.name: field for field in fields(cls)}
    for name in given:
        if name not in known:
            raise Refused(f"{name} is no parameter of {task or cls.__name__}", "allowed are " + ", ".join(known))
    values: dict[str, Any] = {}
    for name, field in known.items():
        value = given.get(name)
        if value is None or (value == "" and field.shape != "text"):
            if field.required:
                raise BadParam(name, value, field.allowed)
            continue
        if value == "" and field.required:
            raise BadParam(name, value, field.allowed)
        values[name] = convert_one(field, value)
    return cls(**values)


def convert_one(field: Field, value: Any) -> Any:
    """One value in its declared type. Raises BadParam."""
    if field.shape == "secret":
        if isinstance(value, Secret):
            return value
        raise BadParam(field.name, "(hidden)", f"a file: {field.name}_file, or an answer at the prompt")
    if isinstance(value, str) and any(ord(char) < 32 and char not in "\t\n" for char in value):
        raise BadParam(field.name, value, "text without control characters")
    if field.shape == "flag" and isinstance(value, str):
        value = {"yes": True, "no": False}.get(value.lower(), value)
    if field.shape == "list" and isinstance(value, str):
        value = [value]  # a job file need not make a list of one
    try:
        return msgspec.convert(value, field.annotation, strict=False)
    except msgspec.ValidationError:
        raise BadParam(field.name, value, field.allowed) from None


def absolute(cls: type[Params], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with every path made absolute against the current folder: a run stands in a folder of its own."""
    paths = {field.name for field in fields(cls) if field.kind in ("file", "folder", "output")}
    paths |= {f"{field.name}_file" for field in fields(cls) if field.shape == "secret"}
    return {name: _absolute(value) if name in paths else value for name, value in given.items()}


def _absolute(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_absolute(item) for item in value]
    if not isinstance(value, str) or value in ("", "-") or "://" in value:
        return value
    return str(Path(os.path.expanduser(value)).absolute())  # noqa: PTH111  pathlib raises where there is no such user


def plain(params: Params) -> dict[str, Any]:
    """Parameters as plain values, secrets left out: fit for a job file, a plan, a report."""
    found = {field.name: getattr(params, field.name) for field in fields(type(params)) if field.shape != "secret"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def secrets(params: Params) -> dict[str, Secret]:
    """The secrets among the parameters that were given."""
    named = (field.name for field in fields(type(params)) if field.shape == "secret")
    return {name: value for name in named if (value := getattr(params, name)) is not None}


def schema(cls: type[Params], task: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a job file for `task`; a secret appears as its file."""
    properties: dict[str, Any] = {}
    for field in fields(cls):
        if field.shape == "secret":
            properties[field.name + "_file"] = {"type": "string", "title": field.label, "description": field.why}
        else:
            properties[field.name] = msgspec.json.schema(field.annotation)
            if field.default not in (None, (), ""):
                properties[field.name]["default"] = field.default
    needed = [field.name for field in fields(cls) if field.required and field.shape != "secret"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "task": {"const": task},
            "params": {
                "type": "object",
                "properties": properties,
                "required": needed,
                "additionalProperties": False,
            },
        },
        "required": ["task", "params"],
        "additionalProperties": False,
    }
