"""Why a login did not happen, read from ssh's own words, and what helps."""

from __future__ import annotations

import re

from engines.job.errors import Failed, Refused

NEGOTIATE = re.compile(
    r"no matching (key exchange method|host key type|cipher|MAC) found\. Their offer: ([A-Za-z0-9@.,_-]+)",
    re.IGNORECASE,
)
OPTIONS = {
    "key exchange method": "KexAlgorithms",
    "host key type": "HostKeyAlgorithms",
    "cipher": "Ciphers",
    "mac": "MACs",
}
FINGERPRINT = re.compile(
    r"(?:fingerprint for the \S+ key sent by the remote host is|key fingerprint is)\s+(SHA256:[A-Za-z0-9+/=]+)",
    re.IGNORECASE,
)
SAYINGS = (
    ("hostkey", r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed"),
    ("negotiate", r"Unable to negotiate|no matching "),
    (
        "full",
        r"too many (logins|sessions|users|connections)"
        r"|max(imum)?( number of)? (sessions|logins|users|connections)(?!( per \w+)?( is|:) *\d)"
        r"|sessions? limit|no (more|free) (sessions|lines|vtys?)",
    ),
    (
        "account",
        r"account (has been |has |is )?(expired|locked|disabled)|locked out(?! after)|password (has |is )?expired"
        r"|must change your password|password change required",
    ),
    ("auth", r"Permission denied|Too many authentication failures"),
    ("unresolved", r"Could not resolve hostname|Name or service not known"),
    ("refused", r"Connection refused"),
    ("timeout", r"Connection timed out|Operation timed out"),
    ("unreachable", r"No route to host|Network is unreachable"),
    ("closed", r"Connection closed|Connection reset|kex_exchange_identification|banner exchange|Broken pipe"),
    ("key", r"Bad server host key|Invalid key length|error in libcrypto"),
)
GREETED = ("full", "account")
"""Kinds that a greeting may speak of, too, as a rule of the house."""
BEFORE = re.compile(r"\b(?:if|when(?:ever)?|in case|will|may|accounts)\b", re.IGNORECASE)
BEHIND = re.compile(r"\s*(?:will|may)\b", re.IGNORECASE)
"""What stands before or behind the words in a rule of the house, and in no refusal."""
UNREACHED = frozenset(("unresolved", "refused", "timeout", "unreachable"))
HELPS = {
    "unresolved": "correct the name, or give its address",
    "refused": "nothing listens at that port: correct the address, or reach it by --console",
    "timeout": "check power, cabling and the management address, or reach it by --console",
    "unreachable": "check the route to its management network, or reach it by --console",
    "closed": "it hangs up before the login: it may be full of sessions or starting; try again in a minute",
    "full": "all of its sessions are taken: end one (show users, on the switch), or reach it by --console",
    "account": "log in by hand or on its console: unlock the account, or give it a new password, then try again",
    "auth": "correct the user or the password; it was tried once, so that nobody is locked out",
    "asks": "log in by hand, once, and answer it (such as a new password for one that has expired), then try again",
    "key": "its host key is too short for this machine's ssh: reach it by --console",
    "silent": "it answers and says nothing more: it may be starting; try again in a minute, or reach it by --console",
    "console": "free the console line, check the command, and try again",
}


class NewKey(Refused):
    """A host key that nobody has agreed to yet; no password was sent."""

    def __init__(self, why: str, what_helps: str, fingerprint: str) -> None:
        super().__init__(why, what_helps)
        self.fingerprint = fingerprint


class Trouble(Exception):
    """A login that did not happen. `kind` is a key of HELPS, newkey, hostkey or negotiate; `said` the other's words."""

    def __init__(self, where: str, kind: str, said: str) -> None:
        super().__init__(f"{where}: {kind}")
        self.where = where
        self.kind = kind
        self.said = said

    @property
    def line(self) -> str:
        """The one line that tells it best."""
        if self.kind == "newkey":
            return f"its ssh host key is met for the first time: {self.fingerprint}"
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        if self.kind == "asks":
            return f"it asks before its command line: {' '.join(lines[-3:])}"[:200]
        pattern = dict(SAYINGS).get(self.kind, "")
        telling = [line for line in lines if pattern and re.search(pattern, line, re.IGNORECASE)]
        if self.kind in GREETED:
            telling = [line for line in telling if _refuses(pattern, line)]
        return (telling or lines[-1:] or ["it said nothing"])[0][:200]

    @property
    def offer(self) -> tuple[str, tuple[str, ...]]:
        """The ssh option that found no match, and the names the switch offers for it."""
        found = NEGOTIATE.search(self.said)
        return (OPTIONS[found[1].lower()], tuple(found[2].split(","))) if found else ("", ())

    @property
    def fingerprint(self) -> str:
        """The fingerprint of a host key that is new, or not the known one."""
        found = FINGERPRINT.search(self.said)
        return found[1] if found else ""

    def helps(self) -> str:
        """The next action."""
        if self.kind == "negotiate":
            option, names = self.offer
            return f"agree to these old algorithms with --legacy-crypto ({option}: {', '.join(names) or 'unknown'})"
        if self.kind == "newkey":
            return (
                "compare it with what the switch shows on its console, "
                f"then agree, once, with --host-key {self.fingerprint or 'FINGERPRINT'}"
            )
        if self.kind == "hostkey":
            return (
                f"the key it shows now is {self.fingerprint or 'not told'}: if it was replaced or reset, "
                f"agree with --new-host-key {self.fingerprint or 'FINGERPRINT'}"
            )
        return HELPS.get(self.kind, "see the transcript")

    def refused(self) -> Refused:
        """As the reason that a plan is declined."""
        if self.kind == "newkey":
            return NewKey(f"{self.where}: no login ({self.line})", self.helps(), self.fingerprint)
        return Refused(f"{self.where}: no login ({self.line})", self.helps())

    def failed(self, left_behind: tuple[str, ...]) -> Failed:
        """As the reason that a run ends."""
        return Failed(f"{self.where}: no login ({self.line})", self.helps(), left_behind)


def kind_of(said: str) -> str:
    """The kind of trouble that ssh's last words tell."""
    found = [kind for kind, pattern in SAYINGS if re.search(pattern, said, re.IGNORECASE)]
    if UNREACHED.isdisjoint(found):
        # a greeting's rules stand well before a refusal, its reason beside it
        lines = [line for line in said.splitlines() if line.strip()][-3 if "auth" in found else 0 :]
        found = [k for k in found if k not in GREETED or any(_refuses(dict(SAYINGS)[k], line) for line in lines)]
    else:
        found = [kind for kind in found if kind not in GREETED]  # of another machine on the way, or of an earlier login
    return next(iter(found), "closed")


def _refuses(pattern: str, line: str) -> bool:
    """Whether a line has these words, and not as a rule of the house."""
    found = re.search(pattern, line, re.IGNORECASE)
    return found is not None and not BEFORE.search(line[: found.start()]) and not BEHIND.match(line[found.end() :])
