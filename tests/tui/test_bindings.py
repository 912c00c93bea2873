"""Every key that a page, a widget or the suite binds has an action that exists and takes what the binding gives it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest
from textual.actions import parse
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

import tui


def classes() -> Iterator[type[DOMNode]]:
    """Whatever in the suite can have bindings."""
    for found in pkgutil.walk_packages(tui.__path__, "tui."):
        if found.name == "tui.__main__":
            continue
        module = importlib.import_module(found.name)
        for each in vars(module).values():
            if inspect.isclass(each) and issubclass(each, DOMNode) and each.__module__ == found.name:
                yield each


BOUND = [
    pytest.param(each, binding, id=f"{each.__name__}-{binding.key}")
    for each in classes()
    for binding in vars(each).get("BINDINGS", ())
]


def doing(each: type[DOMNode], action: str) -> object:
    """The method that an action of `each` calls, None where there is none."""
    space, name, _ = parse(action)
    owners = {"": (each,), "app": (App, *App.__subclasses__()), "screen": (Screen,)}[space]
    return next(
        (found for owner in owners for way in ("action_", "_action_") if (found := getattr(owner, way + name, None))),
        None,
    )


@pytest.mark.parametrize(("each", "binding"), BOUND)
def test_a_key_does_what_it_says(each: type[DOMNode], binding: Binding) -> None:
    method = doing(each, binding.action)
    assert callable(method), f"{binding.key} of {each.__name__} calls {binding.action}, which is nowhere"
    inspect.signature(method).bind(None, *parse(binding.action)[2])
    assert not binding.show or binding.description, f"{binding.key} is shown without a word"


def test_the_keys_of_the_suite_were_found() -> None:
    named = {param.values[0].__name__ for param in BOUND}
    assert {
        "Suite",
        "Frame",
        "FormPage",
        "ReviewPage",
        "ResultPage",
        "History",
        "Menu",
        "Line",
        "Pick",
        "Flag",
    } <= named
