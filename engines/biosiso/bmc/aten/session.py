"""A session on the web pages of an ATEN BMC (SuperMicro X9 and X10): login, the pages' token, forms, logout.

Source: what public clients of these pages send and read; none is the maker's word, so each answer is judged by what
it holds, and every form of login and token that was seen is tried.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlencode

import msgspec

from engines.biosiso.bmc.connection import BY_HAND, Door, Unanswered, line_to, shown
from engines.host.cookie import ended
from engines.job.errors import Failed
from engines.job.params import Secret

LIMIT = 512 * 1024  # bytes of one page
PAGE = "/cgi/url_redirect.cgi?url_name=vm_cdrom"
MAKER = re.compile(r"ATEN International|url_redirect\.cgi|/cgi/login\.cgi", re.IGNORECASE)
TOKEN = re.compile(r"""SmcCsrfInsert\s*\(\s*"(CSRF[-_]TOKEN)"\s*,\s*"([^"]{1,200})"\s*\)""")
LOST = re.compile(r"token value is not matched|logout_alert|session.{0,12}(timed? ?out|expired)", re.IGNORECASE)
ASKS_ENCODED = re.compile(r"""name=["']?check\b|base64""", re.IGNORECASE)
COOKIES = "langSetFlag=0; language=English"  # without them some pages answer with a loader only


class Page(msgspec.Struct, frozen=True):
    """One answer; `cookies` are its Set-Cookie lines."""

    status: int
    text: str
    cookies: tuple[str, ...] = ()


class Missing(Failed):
    """This firmware has no such page."""


class Session:
    """One login, taken when the first form needs it and again where the BMC has forgotten it; `leave` ends it."""

    def __init__(self, door: Door, user: str = "", password: Secret | None = None) -> None:
        self.door, self._user, self._password = door, user, password
        self._sid = ""
        self._token: dict[str, str] = {}

    def front(self) -> str:
        """The page before the login. Raises Unanswered."""
        return self._ask("GET", "/").text

    def form(self, path: str, fields: Mapping[str, str]) -> str:
        """What a form's answer says; with a new login where the BMC has lost the old one. Raises Missing, Failed."""
        for _ in range(2):
            if not self._sid:
                self._enter()
            page = self._ask("POST", path, fields)
            if page.status == 404:
                raise Missing(f"{self.door} has no {path}", BY_HAND)
            if page.status not in (301, 302, 303, 401, 403) and not LOST.search(page.text):
                if page.status != 200:
                    raise Failed(f"{path} is answered {page.status}: {self.said(page.text)}", "see the BMC's own log")
                return page.text
            self.leave()  # what is left of it, such as a session whose token was spent
        raise Failed(
            f"{path} is refused twice, each time with a new login ({page.status}: {self.said(page.text)})",
            "see that the user may use virtual media, and that nobody else holds all of the BMC's sessions",
        )

    def leave(self) -> None:
        """Log out, where logged in: such a BMC has few sessions."""
        if self._sid:
            with suppress(Failed):
                self._ask("POST", "/cgi/logout.cgi", {})
        self._sid = ""

    def said(self, text: str) -> str:
        """What the BMC said, fit for a line, without the login."""
        text = re.sub(r"<[^<>]*>", " ", text)
        password = self._password.reveal() if self._password else ""
        for secret in (password, _encoded(password)):
            if len(secret) > 3:
                text = text.replace(secret, "<secret>")
        return shown(" ".join(text.split())) or "nothing"

    def _enter(self) -> None:
        """Log in, in the form that the front page asks for, then in the other: firmware knows one of the two."""
        password = self._password.reveal() if self._password else ""
        plain = {"name": self._user, "pwd": password}
        encoded = {"name": _encoded(self._user), "pwd": _encoded(password), "check": "00"}
        forms = [plain, encoded]
        if ASKS_ENCODED.search(self.front()):
            forms.reverse()
        for fields in forms:
            page = self._ask("POST", "/cgi/login.cgi", fields)
            if page.status == 404:
                raise Unanswered(f"{self.door} has no /cgi/login.cgi", BY_HAND)
            if sid := _sid(page.cookies):
                self._sid = sid
                self._read_token()
                return
        raise Failed(
            f"{self.door} refuses the user or the password (asked in both forms that its pages know)",
            "give the BMC's own user and password; after some tries the BMC may lock the user",
        )

    def _read_token(self) -> None:
        self._token = {}
        if found := TOKEN.search(self._ask("GET", PAGE).text):
            self._token = {found[1]: found[2]}

    def _ask(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> Page:
        origin = str(self.door)
        headers = {"Cookie": "; ".join(part for part in (self._sid and f"SID={self._sid}", COOKIES) if part)}
        if self._sid:
            headers |= {"Referer": origin + PAGE, "Origin": origin, "X-Requested-With": "XMLHttpRequest", **self._token}
        body = None
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(fields).encode()
        with line_to(self.door) as line:
            line.request(method, path, body, headers)
            answer = line.getresponse()
            text = answer.read(LIMIT + 1)
            if len(text) > LIMIT:
                raise Unanswered(f"{origin}{path} answers with more than {LIMIT} bytes", BY_HAND)
            cookies = tuple(answer.headers.get_all("Set-Cookie") or ())
            return Page(answer.status, text.decode("utf-8", "replace"), cookies)


LONG_AGO = 315532800.0  # 1980: a BMC's clock may stand at any year since, and the session is to live by that clock


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _sid(cookies: tuple[str, ...]) -> str:
    """The session among the cookies: the same answer may also bring an empty SID, or one that is long expired."""
    for line in (each[:4096] for each in cookies):
        found = re.match(r"\s*SID=([^;\s]+)", line)
        if found and not ended(line, LONG_AGO):
            return found[1]
    return ""
