"""One BMC's Redfish service, asked in bounded time and size, over a verified line, and never beyond its own host.

Sources: DMTF DSP0266 (protocol), DSP0268 (ComputerSystem, VirtualMedia).
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec

from engines.biosiso.bmc.connection import BY_HAND, Door, Unanswered, line_to, shown
from engines.biosiso.bmc.reason import reason
from engines.biosiso.bmc.resources import ROOT, Sessions
from engines.job.errors import Failed
from engines.job.params import Secret

LIMIT = 1024 * 1024  # bytes of one answer; the largest standard resource is some tens of KiB
ASKS_ETAG = re.compile(r"if-?match|e-?tag|precondition", re.IGNORECASE)
LOGIN = (
    "give the BMC's own user and password; where it offers HTTP Basic and lets nobody in by it, allow that in its "
    "Redfish settings"
)
HOPS = 3  # redirects of one GET
PATH = re.compile(r"/redfish/[\x21-\x7e]{0,1000}")
T = TypeVar("T")


class Declined(Failed):
    """The BMC understood and said no. `status` is HTTP's; `said` its own reason, empty where it gave none."""

    def __init__(self, why: str, what_helps: str, status: int, said: str) -> None:
        super().__init__(why, what_helps)
        self.status = status
        self.said = said


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer: a header that it does not have is empty. `logins` are the ways in that a 401 offers."""

    status: int
    body: bytes
    etag: str
    location: str
    token: str = ""
    allow: str = ""
    logins: str = ""


class Client:
    """Asks one BMC, where a password is given with HTTP Basic login, which changes nothing there.

    A session is opened only where the front page names sessions, and a 401 offers no Basic, or lets nobody in by it.
    What is offered is found out before a password is sent; one that Basic refuses is sent once more, as such a BMC
    says the same of a wrong one. `leave` ends the session. It is opened anew where the BMC has forgotten it.
    session: its path, where it is known that one is needed. patience: seconds that a change may take to be seen.
    """

    def __init__(self, door: Door, user: str = "", password: Secret | None = None, session: str = "") -> None:
        self.door = door
        self.patience = door.timeout
        self.by_session = session  # the path of the BMC's sessions, once one was needed
        self._session = ""
        self._chosen = password is None or bool(session)
        self._let_in = False  # whether HTTP Basic has opened anything that wants a login
        self._shut: set[str] = set()  # paths that are a 401 behind a fresh session, too
        self._hidden: tuple[str, ...] = ()
        self._login: dict[str, str] = {}
        self._user, self._password = user, password
        if password is not None:
            pair = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
            self._login = {} if session else {"Authorization": f"Basic {pair}"}
            self._hide(pair, password.reveal())

    def _hide(self, *secrets: str) -> None:
        self._hidden += tuple(text for text in secrets if len(text) > 3)

    def leave(self) -> None:
        """End the session, where one is open; a BMC that does not answer ends it itself."""
        session, self._session = self._session, ""
        if session:
            with contextlib.suppress(Failed):
                self._ask("DELETE", session)
        if self.by_session:
            self._login = {}

    def get(self, path: str, kind: type[T]) -> T:
        """The resource at `path`. Raises Unanswered or Failed."""
        answer = self.fetch(path)
        self.judge(answer, "GET", path)
        return self.decode(answer, path, kind)

    def send(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """POST or PATCH; repeated once with the resource's ETag where that is asked. Raises Declined, Failed."""
        answer = self._exchange(method, path, body)
        wants_etag = answer.status == 400 and ASKS_ETAG.search(self._said(answer))
        if answer.status in (412, 428) or wants_etag:
            answer = self._exchange(method, path, body, self._etag(path))
        self.judge(answer, method, path)
        return answer

    def _etag(self, path: str) -> str:
        """The resource's ETag, of the header or of the body; any, where it has none (RFC 9110 13.1.1)."""
        answer = self.fetch(path)
        if answer.etag:
            return answer.etag
        try:
            return msgspec.convert(self._tree(answer.body), _Tagged).etag or "*"
        except (ValueError, RecursionError):
            return "*"

    def fetch(self, path: str) -> Answer:
        """A GET's answer, whatever it is, behind redirects of this BMC's own. Raises Unanswered."""
        for _ in range(HOPS + 1):
            answer = self._exchange("GET", path)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            path = self.own(answer.location.removeprefix(str(self.door)), "a redirect")
        raise Unanswered(f"{self.door} redirects in a loop at {path}", "name the BMC itself, not a proxy before it")

    def own(self, path: str, what: str = "a link") -> str:
        """A path this BMC may be asked for, else Failed: a login must never follow a link to another host."""
        if not PATH.fullmatch(path):
            raise Unanswered(f"{self.door} answers with {what} that leaves /redfish: {shown(path)}", BY_HAND)
        return path

    def judge(self, answer: Answer, method: str, path: str) -> None:
        """Raise Failed for an answer that is no success."""
        if answer.status == 401:
            raise Failed(f"{self.door} refuses the user or the password", LOGIN)
        if answer.status == 404 and path.rstrip("/") == "/redfish/v1":
            raise Unanswered(f"{self.door} has no Redfish (404 at /redfish/v1/)", BY_HAND)
        if not 200 <= answer.status < 300:
            said = self._said(answer)
            raise Declined(
                f"{method} {path} is answered {answer.status}: {said or 'no reason given'}",
                "see the BMC's own log; a 403 often means a missing licence or too few rights of the user",
                answer.status,
                said,
            )

    def _said(self, answer: Answer) -> str:
        """The reason inside a Redfish error (DSP0266, 8.6), without anything secret."""
        try:
            return shown(reason(self._tree(answer.body)), 300)
        except (ValueError, RecursionError):
            return ""

    def decode(self, answer: Answer, path: str, kind: type[T]) -> T:
        """An answer's JSON. Raises Unanswered."""
        try:
            return msgspec.convert(_filled(self._tree(answer.body)), kind)
        except msgspec.ValidationError as error:
            raise Unanswered(f"{self.door}{path} is no Redfish answer: {shown(str(error))}", BY_HAND) from None
        except (ValueError, RecursionError):
            raise Unanswered(f"{self.door}{path} answers, but not with JSON", BY_HAND) from None

    def _tree(self, body: bytes) -> Any:
        return self._cleaned(msgspec.json.decode(body))

    def _cleaned(self, value: Any) -> Any:
        """The same tree with every echo of the login taken out, so that no plan, journal or report can hold it."""
        if isinstance(value, str):
            for secret in self._hidden:
                value = value.replace(secret, "<secret>")
        elif isinstance(value, list):
            return [self._cleaned(item) for item in value]
        elif isinstance(value, dict):
            return {key: item if key in LINKS else self._cleaned(item) for key, item in value.items()}
        return value

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None = None, etag: str = "") -> Answer:
        """An answer; behind a session where nothing else lets us in."""
        if not self._chosen:
            self._choose()
        fresh = bool(self.by_session and not self._login)
        if fresh:
            self._enter()
        answer = self._ask(method, path, body, etag)
        if answer.status != 401 or self._password is None or path in self._shut:
            self._let_in |= answer.status < 400 and path.rstrip("/") not in FRONT
            return answer
        if not fresh:
            if not self._may_enter():
                return answer
            self._enter()
            answer = self._ask(method, path, body, etag)
        if answer.status == 401:  # another session would be refused as well, and a BMC has few
            self._shut.add(path)
        return answer

    def _choose(self) -> None:
        """Basic or a session, as the 401 to who gives no login has it."""
        self._login, basic = {}, self._login
        try:
            sessions = self._sessions()
            refused = self._ask("GET", sessions) if sessions else None
            if refused and refused.status == 401:
                self.by_session = "" if "basic" in refused.logins.lower() else sessions
            self._chosen = True
        finally:
            self._login = {} if self.by_session else basic

    def _may_enter(self) -> bool:
        """Whether a session may help: not where Basic has let us in elsewhere."""
        if not self.by_session and not self._let_in:
            self._login, basic = {}, self._login
            try:
                self.by_session = self._sessions()
            finally:
                self._login = basic
        return bool(self.by_session)

    def _sessions(self) -> str:
        """Where the front page, which wants no login, says that sessions are opened; empty where it does not."""
        try:
            path = self.decode(self._ask("GET", ROOT), ROOT, Sessions).path
            return path and self.own(path)
        except Unanswered:
            return ""

    def _enter(self) -> None:
        """Open a session (DSP0266 13.3.4) in place of the one before. Raises Failed."""
        assert self._password is not None
        self.leave()
        self._login = {}
        who = {"UserName": self._user, "Password": self._password.reveal()}
        answer = self._ask("POST", self.by_session, who)
        if answer.status in (400, 401, 403):
            said = self._said(answer)
            raise Failed(f"{self.door} refuses the user or the password{said and f' ({said})'}", LOGIN)
        self.judge(answer, "POST", self.by_session)
        if not answer.token:
            raise Unanswered(f"{self.door} opens a session and names no X-Auth-Token", BY_HAND)
        self._hide(answer.token)
        self._login = {"X-Auth-Token": answer.token}
        self._session = self._opened(answer)

    def _opened(self, answer: Answer) -> str:
        """The path of a session, by its Location of any form or by its own link; empty where neither tells."""
        try:
            link = answer.location or msgspec.convert(self._tree(answer.body), _Tagged).link or ""
            path = urlsplit(urljoin(self.by_session, link)).path if link else ""
        except (ValueError, RecursionError):
            return ""
        return path if PATH.fullmatch(path) else ""

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, etag: str = "") -> Answer:
        headers = {"Accept": "application/json", "OData-Version": "4.0", **self._login}
        payload = None if body is None else msgspec.json.encode(body)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        if etag:
            headers["If-Match"] = etag
        path = self.own(path)
        with line_to(self.door) as line:
            line.request(method, path, payload, headers)
            response = line.getresponse()
            text = response.read(LIMIT + 1)
            if len(text) > LIMIT:
                raise Unanswered(f"{self.door}{path} answers with more than {LIMIT} bytes", BY_HAND)
            named = ("ETag", "Location", "X-Auth-Token", "Allow", "WWW-Authenticate")
            return Answer(response.status, text, *(response.getheader(name, "") for name in named))


LINKS = ("@odata.id", "target")
FRONT = ("/redfish", "/redfish/v1")  # what wants no login


class _Tagged(msgspec.Struct):
    etag: str | None = msgspec.field(name="@odata.etag", default=None)
    link: str | None = msgspec.field(name="@odata.id", default=None)


def _filled(tree: Any) -> Any:
    """A tree without what says nothing: a null or an empty object in a list, and an empty object in a link's place."""
    if isinstance(tree, dict):
        return {key: None if item == {} else _filled(item) for key, item in tree.items()}
    return [_filled(item) for item in tree if item not in (None, {})] if isinstance(tree, list) else tree


def until(look: Callable[[], T], good: Callable[[T], bool], sleep: Callable[[float], None], within: float) -> T:
    """What `look` says once it is `good`, or in the end, `within` seconds on; a failing look counts as not yet."""
    deadline = time.monotonic() + within
    while True:
        try:
            seen = look()
            if good(seen) or time.monotonic() > deadline:
                return seen
        except Failed:
            if time.monotonic() > deadline:
                raise
        sleep(0.3)  # s; a BMC is a small computer
