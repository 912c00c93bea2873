"""The command line of a rehearsal switch: prompts, ConfD-like errors, pager, y/n."""

from __future__ import annotations

import asyncio
import copy
import re

from engines.rehearsal.switches import config, shows
from engines.rehearsal.switches.line import HungUp, Line
from engines.rehearsal.switches.switch import Switch

CARET = "-----------------------------^\n"
UNKNOWN = CARET + "syntax error: unknown argument.\n"
MORE = "\x1b[7m--More--\x1b[27m"
KNOWN = "interface snmp-server line username rbridge-id vlan ip protocol switch-attributes mtu description no vlag"
KNOWN += " vcs system-name switchport spanning-tree fabric shutdown channel-group exec-timeout system-description aaa"
CONTEXTS = (
    (r"interface Ten\w+ (\S+)", "conf-if-te-{}"),
    (r"interface Vlan (\d+)", "config-Vlan-{}"),
    (r"interface Management (\S+)", "config-Management-{}"),
    (r"interface Port-channel (\d+)", "config-Port-channel-{}"),
    (r"interface Ve (\d+)", "config-rbridge-Ve-{}"),
    (r"rbridge-id (\d+)", "config-rbridge-id-{}"),
    (r"protocol lldp", "conf-lldp"),
)
SAVE = "This operation will modify your startup configuration. Do you want to continue? [y/n]:"


class Shell:
    """One session."""

    def __init__(self, switch: Switch, line: Line) -> None:
        self._switch = switch
        self._line = line
        self._path: list[str] | None = None  # headers entered in config mode, None outside it
        self._paged = True

    async def run(self) -> None:
        """Until the other side goes or types exit."""
        knobs = self._switch.knobs
        await self._line.say(knobs.motd)
        logging = asyncio.ensure_future(self._log()) if knobs.log_every else None
        try:
            if asks := knobs.asks_first or (self._switch.reboots and knobs.asks_after):
                await self._line.line(asks)
            while await self._obey((await self._line.line(self._prompt(), help=self._help)).strip()):
                continue
        except HungUp:
            return
        finally:
            if logging:
                logging.cancel()

    async def _log(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(self._switch.knobs.log_every)
            number += 1
            await self._line.say(
                f"\n2017/04/25-20:49:21, [SEC-1203], {number}, SW/0 | Active, INFO, {self._switch.hostname}, "
                "Login information: Login successful via TELNET/SSH/RSH. \n"
            )

    def _prompt(self) -> str:
        context = ""
        if self._path is not None:
            context = "(config)"
            for pattern, words in CONTEXTS:
                if self._path and (found := re.match(pattern, self._path[-1])):
                    context = f"({words.format(*found.groups())})"
        return ("\x1b[?7h" if self._switch.knobs.mode_prefix else "") + self._switch.hostname + context + "# "

    def _help(self, typed: str) -> list[str]:
        if self._switch.knobs.mute_help:
            return []
        if typed.startswith("fabric ") and self._path:
            words = ["isl     Configure the ISL on the interface", "trunk   Configure the trunk on the interface"]
            return words + ([] if self._switch.knobs.no_edge_command else ["neighbor-discovery   BLDP"])
        return ["<cr>"]

    async def _obey(self, text: str) -> bool:
        """One command; False to end the session."""
        switch = self._switch
        switch.commands.append(text)
        if await switch.held(text):
            return False
        if switch.knobs.deny and text.startswith(switch.knobs.deny):
            await self._line.say("%Error: Permission denied for this role\n")
            return True
        if switch.stage == "init" and text not in ("", "exit", "terminal length 0"):
            await self._line.say("%Error: VCS cluster is initializing. Please try later.\n")
            return True
        if self._path is not None:
            await self._line.say(self._configure(text))
            return True
        if text in ("exit", "logout", "quit"):
            return False
        if text.startswith("show "):
            await self._show(text)
        elif text.startswith("vcs "):
            await self._vcs(text)
        elif text == "copy running-config startup-config":
            if await self._agreed(SAVE):
                await self._line.say(switch.knobs.after_save + "\n" * bool(switch.knobs.after_save))
                switch.startup = switch.startup if switch.knobs.after_save else copy.deepcopy(switch.running)
        elif text.startswith("terminal length "):
            await self._line.say(self._length(text))
        elif text in ("configure terminal", "config term", "configure"):
            self._path = []
            await self._line.say("Entering configuration mode terminal\n")
        elif text and not text.startswith("terminal "):
            await self._line.say(UNKNOWN)
        return True

    def _length(self, text: str) -> str:
        if self._switch.knobs.pager_stuck:
            return "%Error: command authorization failed\n"
        self._paged = text != "terminal length 0"
        return ""

    async def _show(self, text: str) -> None:
        words, _, pipe = text.removeprefix("show ").partition("|")
        answer = shows.show(self._switch, words.strip())
        if answer is None:
            await self._line.say(UNKNOWN)
            return
        lines = answer.splitlines()
        if found := re.match(r"\s*inc(?:lude)? (.+)", pipe):
            wanted = re.compile(found[1].strip().strip('"'))
            lines = [line for line in lines if wanted.search(line)]
        await self._page(lines, self._paged and "nomore" not in pipe)

    async def _page(self, lines: list[str], paged: bool) -> None:
        left = 23
        for at, line in enumerate(lines):
            await self._line.say(line + "\n")
            left -= 1
            if paged and left == 0 and at + 1 < len(lines):
                await self._line.say(MORE)
                key = await self._line.key()
                await self._line.say("\r        \r")
                if key == "q":
                    return
                left = 1 if key in "\r\n" else 23

    async def _agreed(self, question: str) -> bool:
        ending = re.search(r"[\[(](y/n|yes/no)[\])]", question)
        wanted = "yes" if ending and ending[1] == "yes/no" else "y"
        return (await self._line.line(question + " ")).strip() == wanted

    async def _vcs(self, text: str) -> None:
        switch, knobs = self._switch, self._switch.knobs
        found = re.fullmatch(r"vcs vcsid (\d+) (set-rbridge-id|rbridge-id) (\d+)", text)
        if found is None or found[2] != knobs.vcs_word:
            await self._line.say(UNKNOWN)
            return
        if knobs.refuse_vcs:
            await self._line.say(knobs.refuse_vcs + "\n")
            return
        if not await self._agreed(knobs.question):
            return
        if knobs.after_y:
            await self._line.say(knobs.after_y + "\n")
            return
        if not knobs.ignore_vcs:
            switch.rebooting = asyncio.ensure_future(switch.reboot(int(found[1]), int(found[3])))
        if knobs.drop_after_y:
            raise HungUp
        await self._line.say("Operation succeeded.\n")

    def _configure(self, text: str) -> str:
        """One line in config mode; the answer."""
        assert self._path is not None
        if text in ("end", "exit") or not text:
            self._path = None if text == "end" or (text and not self._path) else self._path[: -1 if text else None]
            return ""
        if text == self._switch.knobs.refuse_line:
            return f"%Error: {text.split()[0]} is not possible in this state\n"
        if text.removeprefix("no ").split()[0] not in KNOWN.split():
            return UNKNOWN
        if "neighbor-discovery" in text and self._switch.knobs.no_edge_command:
            return UNKNOWN
        return self._put(text)

    def _has(self, header: str) -> bool:
        return config.block(self._switch.running, header) is not None

    def _missing(self, text: str) -> str:
        group = re.match(r"channel-group (\d+)", text)
        if group and not self._has(f"interface Port-channel {group[1]}"):
            return f"%Error: Port-channel {group[1]} does not exist\n"
        return ""

    def _put(self, text: str) -> str:
        assert self._path is not None
        tree: config.Tree = self._switch.running
        for header in self._path:
            inner = config.block(tree, header)
            assert inner is not None
            tree = inner
        if config.HEADERS.match(text) and not text.startswith("no "):
            if config.block(tree, text) is None:
                if re.match(r"(?i)interface (ten|management)|rbridge-id", text):
                    return "%Error: Interface does not exist\n"
                if (found := re.match(r"interface Ve (\d+)", text)) and not self._has(f"interface Vlan {found[1]}"):
                    return f"%Error: VLAN {found[1]} does not exist\n"
                tree[text] = {}
            known = next(line for line in tree if line.lower() == text.lower())
            self._path = [*self._path, known]
            return ""
        if missing := self._missing(text):
            return missing
        config.put(tree, text)
        self._switch.configured()
        return ""
