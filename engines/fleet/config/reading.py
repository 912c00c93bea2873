"""A part of fleet.yaml by its types: every mistake found, each as one line with key, value and what is allowed."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeVar

import msgspec

from engines.job.units import one_line

T = TypeVar("T", bound=msgspec.Struct)
LONGEST = 200  # characters of a value that are shown
BARE = {str: "text", int: "a whole number", bool: "true or false"}


@dataclass
class Reading:
    """What is wrong so far, in the order of the file."""

    mistakes: list[str] = field(default_factory=list)

    def wrong(self, key: str, value: object, allowed: str) -> None:
        """Note a mistake."""
        shown = "nothing" if value is None or value == "" else _short(repr(value))
        self.mistakes.append(f"{key} is {shown}, allowed is {allowed}")

    def read(self, kind: type[T], data: Any, key: str = "") -> T | None:
        """The part, or None with the mistakes noted."""
        if not isinstance(data, Mapping):
            self.wrong(key or "the file", data, "keys: " + ", ".join(_named(kind)))
            return None
        hints = _hints(kind)
        for name in data:
            if name not in hints:
                self.mistakes.append(f"{_below(key, name)} is unknown, allowed are {', '.join(hints)}")
        before = len(self.mistakes)
        found: dict[str, Any] = {}
        for info in msgspec.structs.fields(kind):
            if info.name in data:
                found[info.name] = self._value(hints[info.name], data[info.name], _below(key, info.name))
            elif info.required:
                self.wrong(_below(key, info.name), None, _words(hints[info.name]))
        return kind(**found) if len(self.mistakes) == before else None

    def _value(self, hint: Any, data: Any, key: str) -> Any:
        bare = _bare(hint)
        origin, inner = typing.get_origin(bare), typing.get_args(bare)
        if origin is dict:
            return self._named(inner, data, key)
        if origin is tuple and _meta(hint) is None and _part(inner[0]):
            return self._listed(inner[0], data, key)
        for part in _parts(bare):
            if isinstance(data, Mapping):
                return self.read(part, data, key)
        return self._leaf(hint, data, key)

    def _named(self, inner: tuple[Any, ...], data: Any, key: str) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            self.wrong(key, data, "names, each with its keys")
            return {}
        return {
            self._leaf(inner[0], name, f"a name in {key}"): self._value(inner[1], value, _below(key, name))
            for name, value in data.items()
        }

    def _listed(self, kind: Any, data: Any, key: str) -> tuple[Any, ...]:
        if not isinstance(data, list):
            self.wrong(key, data, "a list")
            return ()
        return tuple(self._value(kind, each, f"{key}[{number}]") for number, each in enumerate(data, 1))

    def _leaf(self, hint: Any, data: Any, key: str) -> Any:
        try:
            made = msgspec.convert(data, hint)
            meta = _meta(hint)
            check: Callable[[Any], Any] | None = (meta.extra or {}).get("read") if meta else None
            if check and made is not None:
                check(made)
        except (msgspec.ValidationError, ValueError):
            self.wrong(key, data, _words(hint))
            return None
        return made


@lru_cache
def _hints(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _named(kind: type[msgspec.Struct]) -> Iterator[str]:
    yield from _hints(kind)


def _below(key: str, name: Any) -> str:
    shown = _short(one_line(str(name)))
    return f"{key}.{shown}" if key else shown


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _meta(hint: Any) -> msgspec.Meta | None:
    if typing.get_origin(hint) is typing.Annotated:
        return next((each for each in typing.get_args(hint) if isinstance(each, msgspec.Meta)), None)
    return None


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _arms(bare: Any) -> tuple[Any, ...]:
    union = typing.get_origin(bare) in (typing.Union, types.UnionType)
    return typing.get_args(bare) if union else (bare,)


def _parts(bare: Any) -> list[type[msgspec.Struct]]:
    return [arm for arm in _arms(bare) if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]


def _part(bare: Any) -> bool:
    return bool(_parts(bare))


def _words(hint: Any) -> str:
    """What is allowed, in words."""
    meta = _meta(hint)
    if meta is not None:
        return str((meta.extra or {})["allowed"])
    return " or ".join(filter(None, map(_arm, _arms(hint))))


def _arm(bare: Any) -> str:
    if typing.get_origin(bare) is Literal:
        return ", ".join(map(str, typing.get_args(bare)))
    if typing.get_origin(bare) is tuple:
        return f"a list of {_words(typing.get_args(bare)[0])}"
    if _part(bare):
        return "keys: " + ", ".join(_named(bare))
    return BARE.get(bare, "")
