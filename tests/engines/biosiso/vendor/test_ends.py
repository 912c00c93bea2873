"""The vendor's line where its batch has conditions, jumps, blocks and batches of its own: one way out, or none said."""

from __future__ import annotations

import pytest

from engines.biosiso.vendor import batch
from engines.biosiso.vendor.ends import Ends

P, B = "/p", "/b"


def lasts(text: str, *programs: str, **others: str) -> list[tuple[str, ...]]:
    """What each call with which FLASH.BAT can end asks for."""
    scripts = [batch.read("FLASH.BAT", text.replace("\n", "\r\n").encode())]
    scripts += [batch.read(f"{name}.BAT", others[name].replace("\n", "\r\n").encode()) for name in others]
    return [line.asks for line in Ends(scripts, programs).of(scripts[0])]


@pytest.mark.parametrize(
    "text",
    [
        "fdt\nif errorlevel 1 goto two\nafudos %1 /P\ngoto end\n:two\nafudos %1 /B\n:end\n",
        "choice\nif errorlevel 2 goto b\nif errorlevel 1 goto a\n:a\nafudos %1 /P\ngoto end\n:b\nafudos %1 /B\n:end",
        "if exist old.rom (\n  echo old (one)\n  afudos %1 /P\n) else (\n  afudos %1 /B\n)\n",
        "if exist a (\nif exist b (\nafudos %1 /P\n)\nafudos %1 /P\n) else if exist c (\nafudos %1 /B\n)\n",
        "if exist a (afudos %1 /P) else (\nafudos %1 /B)\n",
        "iff exist a then\nafudos %1 /P\nelse\nafudos %1 /B\nendiff\n",
        "iff exist a then\nafudos %1 /P\nelseiff exist b then\nafudos %1 /B\nendiff\n",
        "afudos %1 /P\nif exist me.bin afudos %1 /B\n",
        'afudos %1 /P\nif "%2" == "all parts" afudos %1 /B\n',
        "goto %2\n:main\nafudos %1 /P\ngoto end\n:boot\nafudos %1 /B\n:end\n",
        "if exist a goto longlabel1\nafudos %1 /P\ngoto end\n:longlabel\nafudos %1 /B\n:end",
        "afudos %1 /P\nfdt\nif errorlevel 1 afudos %1 /B\n",
        "if exist a (afudos %1 /P & goto end)\nafudos %1 /B\n:end\n",
        'if exist a (afudos "%1" /P & goto end)\nafudos %1 /B\n:end\n',
        "if exist a goto two\nafudos %1 /P\nwarmboot\n:two\nafudos %1 /B\n",
        "if exist a echo y | afudos %1 /P\nif not exist a afudos %1 /B\n",
        "fdt && goto two\nafudos %1 /P\ngoto end\n:two\nafudos %1 /B\n:end\n",
        "if not exist x.rom goto :two\nafudos %1 /P\nexit /b\n:two\nafudos %1 /B",
        "afudos %1 /P\nif errorlevel 1 goto two\nexit\n:two\nafudos %1 /B\n",
    ],
)
def test_calls_of_which_either_can_be_the_last_are_both_told(text: str) -> None:
    assert set(lasts(text)) == {(P,), (B,)}


@pytest.mark.parametrize(
    "text",
    [
        "afudos %1 /P\nafudos %1 /B\n",
        "fdt\nif errorlevel 1 goto two\nafudos %1 /P\n:two\nafudos %1 /B\n",
        "afudos %1 /P\nif errorlevel 1 goto fail\nafudos %1 /B\ngoto end\n:fail\necho failed\n:end\n",
        "afudos %1 /P\nif not errorlevel 1 afudos %1 /B\n",
        "afudos %1 /P\nif %errorlevel% neq 0 goto fail\nafudos %1 /B\n:fail\n",
        "afudos %1 /B\nif errorlevel 1 afudos %1 /P\n",
        "afudos %1 /B\necho done\nif %errorlevel%==0 goto end\nafudos %1 /P\n:end\n",
        "if '%1'=='' goto usage\nafudos %1 /B\ngoto end\n:usage\necho flash ROM\n:end\n",
        "if (%1)==() (\n  echo no\n  goto end\n)\nafudos %1 /B\n:end\n",
        "afudos old.rom /O\nafudos %1 /B\nafudos %1 /D\nafudos /reboot\n",
        ":again\nif exist x goto done\nshift\ngoto again\n:done\nafudos %1 /B\n",
        "goto end\nafudos %1 /P\n:end\nafudos %1 /B\n",
        "afudos %1 /P & afudos %1 /B\n",
        "afudos %1 /P && afudos %1 /B\n",
        "afudos %1 /B || afudos %1 /P\n",
        "afudos %1 /P || goto err\nafudos %1 /B\n:err\n",
        "echo y | afudos %1 /B\n",
        "if '%1'=='' exit\nafudos %1 /B\nexit\n:usage\necho flash ROM\n",
        "afudos %1 /B > flash.log 2>&1\n",
        'afudos "%1" /P & echo "a & b"\nafudos "%1" /B\n',
        "copy reset.com c:\nafudos %1 /B\nreset\nafudos %1 /P\n",
        "afudos %1 /B\n\x1aafudos %1 /P\n",
        "call :flash %1\ngoto :eof\n:flash\nafudos %1 /B\n",
        "echo (see\nafudos %1 /B\n)\n",
        "for %%f in (*.rom) do (\nafudos %%f /B\n)\n",
    ],
)
def test_the_call_that_ends_it_on_every_way_is_the_one(text: str) -> None:
    assert lasts(text) == [(B,)]


def test_batches_that_it_starts_are_followed() -> None:
    both = {"ONE": "afudos %1 /P\n", "TWO": "afudos %1 /B\n"}
    assert lasts("call one.bat %1\ncall two %1\n", **both) == [(B,)]
    assert lasts("one %1\ntwo %1\n", **both) == [(P,)]
    assert lasts("command /c one %1\ncommand /c two %1\n", **both) == [(B,)]
    assert lasts("one %1\nafudos %1 /B\n", "one", **both) == [(B,)]
    assert set(lasts("if exist a call .\\one %1\nif not exist a call two %1\n", **both)) == {(P,), (B,)}
    assert lasts("call flash.bat\nafudos %1 /B\n") == [(B,)]


def test_switches_written_together_are_the_same_as_apart() -> None:
    assert lasts("if exist a afudos %1 /P/B\nif not exist a afudos %1 /P /B\n") == [(P, B), (P, B)]


def test_a_batch_without_end_is_read_with_all_its_calls() -> None:
    maze = "".join(f"if exist {at} goto l{at % 7}\n:l{at}\nafudos %1 /P{at}\n" for at in range(400))
    assert len(lasts(maze)) >= 1
    for deep in (
        "if exist a (\n" * 3000,
        "a&" * 900 + "b\n",
        "a&&" * 600 + "b\n",
        "(" * 1900 + "\n",
        "iff a then " * 170 + "\n",
    ):
        assert lasts(f"{deep}\nafudos %1 /B\n") == [(B,)]


@pytest.mark.parametrize(
    ("call", "opened"),
    [
        ("afudos %1 /P /B", ""),
        ("afudos %rom% /P", ""),
        ("afudos /P %1", ""),
        ("afudos %1 /P %2", "%2"),
        ("afudos bios.rom %opt% /B", "%opt%"),
        ("afudos %1 /P:%part%", "/P:%part%"),
    ],
)
def test_switches_that_a_variable_says_are_seen_as_open(call: str, opened: str) -> None:
    (line,) = batch.read("x.bat", f"{call}\r\n".encode()).flash_lines
    assert line.opened == opened
