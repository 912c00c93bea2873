"""What was said on a line, with times and without secrets, in a file only its owner can read."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from engines.job.params import Secret

HIDDEN = "<hidden>"
TELLTALE = re.compile(
    r"""(?ix)
    (\bpassword\s+(?:level\s+\d+\s+)?(?:\d+\s+)?|\bsecret\s+(?:level\s+\d+\s+)?(?:\d+\s+)?
      |\bkey(?:-string)?\s+(?:\d+\s+)?(?!rsa\b|ecdsa\b|dsa\b|pass-?phrase\b|fingerprint\b|is\b)|\bcommunity\s+
      |\bauthentication-key\s+(?:\d+\s+)?(?:(?:md5|sha1|sha-?\d+)\s+)?(?:encryption-level\s+\d+\s+)?(?:\d\s+)?
      |\bmd5-auth(?:entication)?(?:-key)?\s+(?:key(?:-activation-wait-time)?\s+)?(?:\d+\s+)?|\bsha1?-auth\w*\s+
      |\bsimple-text-auth\s+(?:\d\s+)?|\bsimple-password\s+|\bbind-?(?:pw|passw\w*)\s*[:=]?\s*
      |\bpass-?phrase\s+(?:\d\s+)?|\bshared-secret\s+|\bpre-?shared-key\s+|\bprivate-key\s+
      |\b(?:auth|priv)(?:-pass\w*)?\s+(?:md5|sha\d*|des|aes\d*)\s+(?:auth-password\s+)?
      |\bauth-pass\w*\s+|\bpriv-pass\w*\s+)
    ("(?:[^"\\]|\\.)*"|\S+)"""
)
IN_URL = re.compile(r"(?i)\b(\w+://[^\s:/@]*):[^\s@]+@")


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
        self._secrets: tuple[Secret, ...] = ()

    def hide(self, secret: Secret) -> None:
        """A secret that must never be in the file."""
        self._secrets = (*self._secrets, secret)

    def write(self, piece: str) -> None:
        """Text from the line."""
        *whole, self._partial = (self._partial + piece).split("\n")
        for line in whole:
            self._put(line.rstrip("\r"))

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
        with suppress(OSError):  # a full state disk must not stop a change half-way
            os.write(self._fd, f"{stamp}Z {shown}\n".encode())

    def close(self) -> None:
        """Close it."""
        self._finish()
        os.close(self._fd)
