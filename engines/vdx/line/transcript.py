"""What was said on a line, with times and without secrets, in a file only its owner can read."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from engines.job.params import Secret

HIDDEN = "<hidden>"
LONGEST = 64 << 10  # characters of one line; the rest of it is left out, since what is cut could hide a secret
CUT = 1024
MOST = 64 << 20  # bytes of one file; a whole fix takes 1 MiB
BETWEEN = r"""(?:\d{1,2}|level[ \t]+\d+|md5|sha-?\d*|3?des|aes-?\d*|encrypted|clear(?:-?text)?|plain(?:-?text)?
    |ascii|hex|text|string|encryption-level|key(?:-string)?|key-activation-wait-time|(?:auth|priv)-password)"""
"""What may stand between the word that tells of a secret and the secret."""
TELLS = r"""\b(?:password|passwd|pwd|pass-?phrase|secret|key|key-string|psk|token|community|(?:auth|priv)-pass\w*
    |(?:auth|priv)(?=[ \t]+(?:md5|sha|3?des|aes))|md5-auth\w*(?:-key)?|sha1?-auth\w*|simple-text-auth
    |simple-password|bind-?(?:pw|passw\w*)|authentication(?=[ \t]+(?:string|text|md5|key-string)\b)
    |authorization:[ \t]*(?:basic|bearer)|(?:vrrp|standby|glbp)[ \t]+\d+[ \t]+authentication
    |user(?:name)?[ \t]+\S+[ \t]+pass|keyed-(?:md5|sha1?)
    |snmp-server[ \t]+host[ \t]+\S+(?:[ \t]+(?:traps?|informs?))?(?:[ \t]+version[ \t]+\S+)?)
    (?:[ \t]*[:=][ \t]*|[ \t]+)"""
# A longer number is a key's id (of NTP: up to 65535) or the secret itself: it is hidden, and the word behind it too.
TELLTALE = re.compile(
    rf"""(?ix)
    ({TELLS}(?:{BETWEEN}[ \t]+)*)
    (?!(?:rsa|ecdsa|dsa|pass-?phrase|fingerprint|is|was|for|must|generate|zeroize|use-vrf|version|udp-port
       |severity-level|source-interface)(?:[ \t,.]|$))
    (?:(?:\d{{3,5}}|\d+(?=[ \t]+(?:md5|sha-?\d*)[ \t]))[ \t]+(?:{BETWEEN}[ \t]+)*(?!(?:\S{{0,40}}-)?{TELLS}))?
    ("(?:[^"\\]|\\.)*"|'[^']*'|\S+)""",
    re.MULTILINE,
)
IN_URL = re.compile(r"(?i)\b(\w+://[^\s:/@]*):\S{1,500}@")


def redacted(text: str, secrets: tuple[Secret, ...] = ()) -> str:
    """The text with known secrets, and what stands where config lines keep theirs, replaced."""
    for secret in secrets:
        if secret.reveal():
            text = text.replace(secret.reveal(), HIDDEN)
    return IN_URL.sub(rf"\1:{HIDDEN}@", TELLTALE.sub(rf"\1{HIDDEN}", text))


class Transcript:
    """A file that grows by whole lines. Used as pexpect's logfile_read: it never sees what is typed without echo."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if fresh else os.O_APPEND)
        self.path = path
        self._fd = os.open(path, flags, 0o600)
        self._partial = ""
        self._room = MOST - os.fstat(self._fd).st_size
        self._secrets: tuple[Secret, ...] = ()

    def hide(self, secret: Secret) -> None:
        """A secret that must never be in the file."""
        self._secrets = (*self._secrets, secret)

    def write(self, piece: str) -> None:
        """Text from the line."""
        *whole, last = piece.split("\n")
        for line in whole:
            self._put((self._partial + line)[:LONGEST].rstrip("\r"))
            self._partial = ""
        self._partial += last[: LONGEST - len(self._partial)]

    def mark(self, text: str) -> None:
        """A note of our own, and everything so far on disk."""
        self._finish()
        self._put(f"== {text}")
        with suppress(OSError):
            os.fsync(self._fd)

    def flush(self) -> None:
        """Called by pexpect after each piece; a line is kept until it is whole, so that a secret is never split."""

    def _finish(self) -> None:
        if self._partial:
            self._put(self._partial)
            self._partial = ""

    def _put(self, line: str) -> None:
        stamp = time.strftime("%H:%M:%S", time.gmtime())
        shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in redacted(line, self._secrets))
        if len(line) >= LONGEST:
            shown = shown[:-CUT] + " (and more)"  # where it was cut, half a secret would not be known
        raw = f"{stamp}Z {shown}\n".encode()
        if self._room < 0:
            return
        if self._room < len(raw):
            raw = f"{stamp}Z == no more is kept: a line that has no end\n".encode()
            self._room = 0
        self._room -= len(raw)
        with suppress(OSError):  # a full state disk must not stop a change half-way
            os.write(self._fd, raw)

    def close(self) -> None:
        """Close it."""
        self._finish()
        os.close(self._fd)
