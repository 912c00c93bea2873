"""A scriptable board for what the emulator never does, and runs driven against either."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from engines.biosiso.bmc.insert import Insert
from engines.job import answers, journal, runs
from engines.job.contract import AnyEvent, Asked
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import Secret
from engines.job.perform import Stop, perform
from tests.agreed import AGREED
from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD
from tests.engines.biosiso.bmc.redfish_sessions import SESSIONS, SessionHandler
from tests.ports import free_port

TASK = "/redfish/v1/TaskService/Tasks/7"
LOCATIONS = {"location": f"https://bmc.example{TASK}", "relative": "../../../../../TaskService/Tasks/7"}
SYSTEM, SLOT = "/redfish/v1/Systems/1", "/redfish/v1/Managers/1/VirtualMedia/CD1"


class Board:
    """A board of SuperMicro's ways: slots at the manager, only Image taken, leftovers refuse, ETags demanded, lag.

    `script` replaces the answer to a path: bytes are sent raw, a tuple is (status, JSON). `lag` is how many
    looks at the slot still show the old state after an insert.
    task: an insert becomes a task, whose states these are, the last one staying; it is done at Completed.
    task_as: how the 202 names its task: body, location, relative, monitor (in the body, whose end is a 404).
    busy: so many looks at the task are answered 503. words_as: how a refusal speaks: text, or a form in `lacks`.
    etag_in: header, body, or nowhere (then any will do). vague: a demand that does not name what is missing.
    demands: properties without which InsertMedia is a 400 that names them. etag_by_400: as old boards ask for it.
    refuses_boot: the words of a 400 to the boot override. targets: what the override may be. sticky: an eject that
    leaves the entry, one that leaves the disc, and a slot without actions that no null empties.
    sessions: nobody is let in by Basic; links or service say how the front page names the sessions, of which `open`
    are the tokens. forgets: after how many answers a token is no longer known. offers: what a 401 says it takes.
    session_as: how an opened session is named: relative or in the body; else by its whole URL.
    refused: how many logins by Basic were turned away.
    bare: no actions, a slot is set by PATCH; allow: its Allow header. refuses: a property it will not have set.
    It proves the engine's manners, no board's.
    """

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self.logins: set[str] = set()
        self.script: dict[str, Any] = {}
        self.lag, self.deaf, self.alive = 0, False, True
        self.task: list[str] = []
        self.demands: tuple[str, ...] = ()
        self.task_as, self.busy, self.words_as, self.etag_in, self.vague = "body", 0, "text", "header", False
        self.etag_by_400, self.refuses_boot, self.sticky = False, "", ""
        self.sessions, self.forgets, self.offers, self.session_as = "", 0, "", ""
        self.open: dict[str, int] = {}
        self.refused = 0
        self.bare, self.allow, self.refuses = False, "", ""
        self.targets = ["None", "Pxe", "Cd", "UsbCd"]
        self.taken: list[dict[str, Any]] = []
        self.coming: dict[str, Any] = {}
        self.boot = {"Enabled": "Disabled", "Target": "None", "Mode": "UEFI"}
        self.slot: dict[str, Any] = {"Inserted": False, "Image": None, "ConnectedVia": "NotConnected"}
        self.waiting: tuple[int, dict[str, Any]] | None = None
        self.server = _Quiet(("127.0.0.1", 0), type("Handler", (_BoardHandler,), {"board": self}))
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, tls))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]

    def __enter__(self) -> Board:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.die()

    def die(self) -> None:
        """Answer no more."""
        if self.alive:  # a second shutdown would wait for ever
            self.alive = False
            self.server.shutdown()
            self.server.server_close()

    def changes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.asked if method != "GET"]

    def tree(self, path: str) -> Any:
        """The resource at `path`."""
        if self.waiting and path == SLOT:
            left, coming = self.waiting
            self.waiting = (left - 1, coming) if left > 1 else None
            if left <= 1:
                self.slot = coming
        if path == SYSTEM:
            boot: dict[str, Any] = {f"BootSourceOverride{key}": value for key, value in self.boot.items()}
            boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = self.targets
            links = {"ManagedBy": [{"@odata.id": "/redfish/v1/Managers/1"}]}
            tag = {"@odata.etag": self.etag()} if self.etag_in == "body" else {}
            return {**tag, "Id": "1", "Manufacturer": "Supermicro", "PowerState": "On", "Boot": boot, "Links": links}
        if path == SLOT:
            acts = {
                f"#VirtualMedia.{act}": {"target": f"{SLOT}/Actions/{act}"} for act in ("InsertMedia", "EjectMedia")
            }
            return {"MediaTypes": ["CD"], **({} if self.bare else {"Actions": acts}), **self.slot}
        if path == TASK:
            state = self.task.pop(0) if len(self.task) > 1 else self.task[0]
            if state == "Completed" and self.coming:
                self.slot, self.coming = self.coming, {}
            if self.task_as == "monitor":
                return None if state == "Completed" else {"TaskState": state, "Messages": None}
            return {"TaskState": state, "TaskStatus": "OK", "Messages": [{"Message": "image not reachable"}]}
        named = {
            "links": {"Links": {"Sessions": {"@odata.id": SESSIONS}}},
            "service": {"SessionService": {"@odata.id": "/redfish/v1/SessionService"}},
        }.get(self.sessions, {})
        return {
            "/redfish/v1/": {"RedfishVersion": "1.8.0", "Systems": {"@odata.id": "/redfish/v1/Systems"}, **named},
            "/redfish/v1/Systems": {"Members": [{"@odata.id": SYSTEM}]},
            "/redfish/v1/Managers/1": {"VirtualMedia": {"@odata.id": "/redfish/v1/Managers/1/VirtualMedia"}},
            "/redfish/v1/Managers/1/VirtualMedia": {"Members": [{"@odata.id": SLOT}]},
        }.get(path)

    def change(self, method: str, path: str, body: dict[str, Any], etag: str) -> tuple[int, Any]:
        """Do what is asked: status and body."""
        if path == SYSTEM and method == "PATCH":
            if self.refuses_boot:
                return 400, said(self.refuses_boot)
            if etag != ("*" if self.etag_in == "nowhere" else self.etag()):
                if self.etag_by_400:
                    return 400, said("The request shall have an If-Match header.")
                return 428, said("the request did not provide the required precondition")
            if not self.deaf:
                self.boot |= {key.removeprefix("BootSourceOverride"): text for key, text in body["Boot"].items()}
            return 200, {}
        if path == SLOT and self.bare:
            if etag != ("*" if self.etag_in == "nowhere" else self.etag()):
                return 428, said("the request did not provide the required precondition")
            if self.refuses in body:
                return 400, said(f"The property {self.refuses} is a read only property and cannot be assigned a value.")
            self.taken.append(body)
            if self.sticky == "null" and body["Image"] is None:
                return 200, {}
            image = body["Image"] or None
            self.slot = {"Inserted": bool(image), "Image": image, "ConnectedVia": "URI" if image else "NotConnected"}
            return 200, {}
        if path == f"{SLOT}/Actions/InsertMedia":
            self.taken.append(body)
            if missing := [name for name in self.demands if name not in body]:
                return 400, self.lacks(missing[0])
            if more := sorted(set(body) - {"Image", *self.demands}):
                return 400, said(f"The property {more[0]} is not in the list of valid properties for the resource.")
            if self.slot["Image"]:
                return 400, said("an image is set already")
            coming = {"Inserted": True, "Image": body["Image"], "ConnectedVia": "URI"}
            if self.task:
                self.coming = coming
                return 202, {"body": {"@odata.id": TASK}, "monitor": {"TaskMonitor": TASK}}.get(self.task_as)
            if not self.deaf:
                self.waiting = (self.lag + 1, coming)
            return 202, {}
        if path == f"{SLOT}/Actions/EjectMedia":
            if self.sticky == "disc":
                return 204, None
            if self.sticky == "entry":
                self.waiting, self.slot = None, {**self.slot, "Inserted": False, "ConnectedVia": "NotConnected"}
                return 204, None
            self.waiting, self.slot = None, {"Inserted": False, "Image": None, "ConnectedVia": "NotConnected"}
            return 204, None
        return 404, said("no such resource")

    def lacks(self, name: str) -> Any:
        """The refusal of an insert without a property."""
        if self.vague:
            return said("A required parameter is missing.")
        if self.words_as == "text":
            return said(f"The action InsertMedia requires the parameter {name}.")
        told: dict[str, Any] = {"MessageId": "Base.1.5.ActionParameterMissing", "MessageArgs": ["InsertMedia", name]}
        forms: dict[str, Any] = {
            "ids": [told],
            "one": told,
            "bare": [told | {"MessageArgs": name}],
            "link": [told | {"MessageArgs": None, "RelatedProperties": [{"@odata.id": f"#/{name}"}]}],
            "nulls": [None, told | {"Message": None, "MessageArgs": [None, name], "RelatedProperties": [None, 1]}],
            "string": f"InsertMedia requires the parameter {name}.",
        }
        return {"error": {"code": "x", "message": {}, "@Message.ExtendedInfo": forms[self.words_as]}}

    def etag(self) -> str:
        return hashlib.sha256(json.dumps(self.boot).encode()).hexdigest()[:8]


def said(text: str) -> dict[str, Any]:
    return {"error": {"code": "Base.1.0.GeneralError", "@Message.ExtendedInfo": [{"Message": text}]}}


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what half of the tests are about."""


class _BoardHandler(SessionHandler):
    board: Board

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    do_PATCH = do_POST

    def do_DELETE(self) -> None:
        self.answer({})

    def answer(self, body: dict[str, Any]) -> None:
        board = self.board
        board.asked.append((self.command, self.path))
        login = self.headers.get("Authorization", "")
        board.logins |= {login} if login else set()
        wanted = board.script.get(self.path)
        if callable(wanted):
            wanted = wanted(self)
            if wanted is None:
                return
        if isinstance(wanted, bytes):
            self.wfile.write(wanted)
        elif wanted:
            self.tell(*wanted)
        elif self.entered(body):
            return
        elif self.path != "/redfish/v1/" and not self.known(login):
            board.refused += bool(login)
            self.tell(401, said("who are you"), {"WWW-Authenticate": board.offers} if board.offers else {})
        elif self.command == "GET" and self.path == TASK and board.busy:
            board.busy -= 1
            self.tell(503, None)
        elif self.command == "GET":
            tree = board.tree(self.path)
            self.tell(404 if tree is None else 200, tree)
        else:
            self.tell(*board.change(self.command, self.path, body, self.headers.get("If-Match", "")))

    def tell(self, status: int, tree: Any, headers: dict[str, str] | None = None) -> None:
        text = b"" if tree is None else json.dumps(tree).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Content-Type", "application/json")
        if self.board.etag_in == "header":
            self.send_header("ETag", self.board.etag())
        if status == 202 and self.board.task_as in LOCATIONS:
            self.send_header("Location", LOCATIONS[self.board.task_as])
        if self.board.allow and self.path == SLOT:
            self.send_header("Allow", self.board.allow)
        for name, text_of in (headers or {}).items():
            self.send_header(name, text_of)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def job(iso: Path, port: int, /, **more: Any) -> Job:
    """A job against a BMC on loopback."""
    listen = f"127.0.0.1:{free_port()}"
    given = {"bmc": f"127.0.0.1:{port}", "iso": str(iso), "listen": listen, "timeout": 60.0, "insecure_http": True}
    return Job(task="biosiso-insert", params={**given, **more})


def drive(
    what: Job,
    *,
    password: str | None = PASSWORD,
    replies: tuple[str, ...] = (),
    on: Callable[[Entry, runs.Run, Stop], None] = lambda entry, run, stop: None,
    **info: str,
) -> tuple[runs.Run, AnyEvent]:
    """Perform a run to its last word; questions get `replies` in turn, then their first choice."""
    run, stop, left = runs.create(what, "bmc", **info), Stop(), list(replies)

    def listen(entry: Entry) -> None:
        on(entry, run, stop)
        if isinstance(entry.event, Asked) and not stop.wanted:
            reply = left.pop(0) if left else entry.event.choices[0]
            threading.Thread(target=answers.send, args=(run.folder, reply), daemon=True).start()

    given = {"password": Secret(password)} if password is not None else {}
    return run, perform(run, Insert(), stop=stop, secrets=given, listen=listen, answer_within=120.0, confirm=AGREED)


def events(run: runs.Run) -> list[AnyEvent]:
    return [entry.event for entry in journal.entries(run.journal)]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What stands inside ends in time."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds
