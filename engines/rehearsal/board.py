"""The web pages of a SuperMicro board of the X9 or X10 age, its virtual CD drive behind them, and their bad manners.

It proves the order of the requests, that an SMB client of that age reads the very disc from the share, and that drive
and form are as before afterwards. It does not prove any real board: the pages are rebuilt from what public clients of
them send and read, the answers' words and the times are made up, the disc is read whole at the mount (by smbclient,
not by a BMC's own client), and no host boots from it.
"""

from __future__ import annotations

import base64
import html
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

from engines.host import child

if TYPE_CHECKING:
    from engines.rehearsal.stage import Staged

FRONT = "<html><title>Login</title><!-- ATEN International Co Ltd. -->{}<form action=/cgi/login.cgi></form></html>"
FORM = ("host", "path", "user", "pwd")
PAGES = {
    "/cgi/vmstatus.cgi": "status",
    "/cgi/virtual_media_share_img.cgi": "set",
    "/cgi/uisopin.cgi": "mount",
    "/cgi/uisopout.cgi": "unmount",
}
OPS = {"vm_status": "status", "config_iso": "set", "mount_iso": "mount", "umount_iso": "unmount"}


@dataclass
class Manners:
    """How the board behaves.

    dialect: pages of their own, one page for all, or that with another word for the status.
    login: the form that it takes. token: the name of the header that forms need, empty for none.
    spends_token: the first token is refused once, by a page with status 200. forgets: the session is lost at these
    numbers of forms. lag: looks at the drive until a mount shows. deaf: a mount is taken and nothing comes of it.
    sticky: an unmount is taken and the disc stays. tells: whether the form can be read. hides: passwords are starred.
    clears: whether the form can be emptied. refuses: the words that a new share is refused with.
    protocol: the newest SMB that it speaks.
    """

    dialect: Literal["pages", "op", "uiso"] = "pages"
    login: Literal["plain", "base64", "unsaid base64"] = "plain"
    token: str = ""
    spends_token: bool = False
    forgets: tuple[int, ...] = ()
    lag: int = 0
    deaf: bool = False
    sticky: bool = False
    tells: bool = True
    hides: bool = False
    clears: bool = True
    refuses: str = ""
    protocol: Literal["NT1", "SMB2", "SMB3"] = "NT1"


class Board:
    """The board at `port`, while the `with` block lasts.

    status: the drive's, 255 for empty. form: what the share form holds. read: the disc that was read from the share.
    asked: every form's path and fields, without the login's. sessions: how many stand.
    """

    def __init__(self, password: str, smb_port: int = 445, manners: Manners | None = None, tls: Any = None) -> None:
        self.user, self.password, self.smb_port = "ADMIN", password, smb_port
        self.manners = manners or Manners()
        self.status, self.read = 255, b""
        self.form = dict.fromkeys(FORM, "")
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.logins = 0
        self._sids: set[str] = set()
        self._token = secrets.token_urlsafe(12)
        self._spent = False
        self._coming = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Pages,), {"board": self}))
        self.server.daemon_threads = True
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self.server.server_address[1]

    def __enter__(self) -> Board:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def sessions(self) -> int:
        """Sessions that nobody has left."""
        return len(self._sids)

    def enter(self, fields: dict[str, str]) -> str:
        """A new session's id; empty where the login does not fit."""
        self.logins += 1
        pair = (self.user, self.password)
        if self.manners.login != "plain":
            pair = (base64.b64encode(pair[0].encode()).decode(), base64.b64encode(pair[1].encode()).decode())
        if (fields.get("name"), fields.get("pwd")) != pair:
            return ""
        sid = secrets.token_hex(8)
        self._sids.add(sid)
        return sid

    def knows(self, sid: str) -> bool:
        """Whether that session stands."""
        return sid in self._sids

    def leave(self, sid: str) -> None:
        """End it."""
        self._sids.discard(sid)

    def insert(self) -> str:
        """The script that a page carries: its token."""
        name = self.manners.token
        return f'<script>SmcCsrfInsert ("{name}", "{self._token}");</script>' if name else ""

    def answer(self, path: str, fields: dict[str, str], sid: str, token: str) -> tuple[int, str]:
        """A form's answer: status and text."""
        self.asked.append((path, fields))
        if len(self.asked) in self.manners.forgets:
            self._sids.clear()
            return 200, "<html><body onload='logout_alert()'></body></html>"
        if not self.knows(sid):
            return 403, ""
        if self.manners.token and token != self._token:
            return 403, ""
        if self.manners.spends_token and not self._spent:
            self._spent, self._token = True, secrets.token_urlsafe(12)
            return 200, "Token Value is not matched."
        if path == "/cgi/ipmi.cgi":
            return self._settings(fields)
        act = PAGES.get(path, "") if self.manners.dialect == "pages" else self._op(path, fields)
        if not act:
            return (404, "") if path in PAGES else (200, "<html>File Not Found</html>")
        said: str = getattr(self, f"_{act}")(fields)
        return 200, said

    def _op(self, path: str, fields: dict[str, str]) -> str:
        words = OPS if self.manners.dialect == "op" else {**OPS, "vm_status": "", "vm_uiso_status": "status"}
        return words.get(fields.get("op", ""), "") if path == "/cgi/op.cgi" else ""

    def _settings(self, fields: dict[str, str]) -> tuple[int, str]:
        if not self.manners.tells:
            return 404, ""
        asked = "VIRTUAL_MEDIA_SHARE_IMAGE.XML"
        if (asked in fields) != (self.manners.dialect == "pages"):
            return 200, "<IPMI/>"
        told = {**self.form, "pwd": "*" * 8 if self.manners.hides and self.form["pwd"] else self.form["pwd"]}
        words = " ".join(f'{name.upper()}="{html.escape(told[name])}"' for name in FORM)
        return 200, f'<?xml version="1.0"?>  <IPMI>  <VM_INFO {words}/> </IPMI>'

    def _status(self, _: dict[str, str]) -> str:
        if self._coming:
            self._coming -= 1
            if not self._coming:
                self.status = 4
        return (
            f'<?xml version="1.0"?>  <IPMI>  <CODE NO="001"/> <DEVICE ID="0" STATUS="255" />'
            f' <DEVICE ID="1" STATUS="{self.status}" /> </IPMI>'
        )

    def _set(self, fields: dict[str, str]) -> str:
        if self.manners.refuses and fields.get("path"):
            return self.manners.refuses
        if not fields.get("path") and not self.manners.clears:
            return "err: path"
        self.form = {name: fields.get(name, "") for name in FORM}
        return "ok"

    def _mount(self, _: dict[str, str]) -> str:
        if not self.manners.deaf and self.status == 255:
            self.read = self._fetch()
            if self.read:
                self._coming = self.manners.lag + 1
        return "VMCOMCODE=001"  # whatever comes of it

    def _unmount(self, _: dict[str, str]) -> str:
        if not self.manners.sticky:
            self.status, self._coming = 255, 0
        return "VMCOMCODE=001"

    def _fetch(self) -> bytes:
        """The disc as the share gives it; nothing where it gives none."""
        share, _, name = self.form["path"].lstrip("\\").partition("\\")
        with tempfile.TemporaryDirectory(prefix="crashcart-board-") as folder:
            disc = Path(folder, "disc.iso")
            subprocess.run(
                [
                    *("smbclient", f"//{self.form['host']}/{share}", "-s", "/dev/null", "-p", str(self.smb_port)),
                    *("-U", f"{self.form['user']}%{self.form['pwd']}", "-m", self.manners.protocol),
                    *("--option=client min protocol=NT1", "-c", f'get "{name}" "{disc}"'),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=120,
                check=False,
                preexec_fn=child.bind_to_parent(),
            )
            return disc.read_bytes() if disc.exists() else b""


class _Pages(BaseHTTPRequestHandler):
    board: Board
    timeout = 60.0

    def do_GET(self) -> None:
        """The front page, and the page that carries the token."""
        if self.path == "/":
            hidden = "<input type=hidden name=check>" if self.board.manners.login == "base64" else ""
            self._tell(200, FRONT.format(hidden))
        elif self.path.startswith("/cgi/url_redirect.cgi") and "language=English" in self.headers.get("Cookie", ""):
            known = self.board.knows(self._sid())
            self._tell(200, f"<html>{self.board.insert()}</html>" if known else "<body onload='logout_alert()'>")
        else:
            self._tell(404, "")

    def do_POST(self) -> None:
        """Login, logout, forms."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        fields = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
        if self.path == "/cgi/login.cgi":
            sid = self.board.enter(fields)
            cookies = ["SID=; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT"]
            self._tell(200, "<html>mainmenu</html>", *cookies, *([f"SID={sid}; path=/"] if sid else []))
        elif self.path == "/cgi/logout.cgi":
            self.board.leave(self._sid())
            self._tell(200, "")
        else:
            token = self.headers.get(self.board.manners.token, "") if self.board.manners.token else ""
            self._tell(*self.board.answer(self.path, fields, self._sid(), token))

    def _sid(self) -> str:
        found = [
            part.split("=", 1)[1] for part in self.headers.get("Cookie", "").split("; ") if part.startswith("SID=")
        ]
        return found[0] if found else ""

    def _tell(self, status: int, text: str, *cookies: str) -> None:
        self.send_response(status)
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `asked` tells what came."""


@contextmanager
def stage(folder: Path) -> Iterator[Staged]:
    """The rehearsal of biosiso-insert by SMB share: a disc of noise, a board on loopback. Raises Refused."""
    from engines.job.errors import Refused
    from engines.job.jobfile import Job
    from engines.job.params import Secret
    from engines.rehearsal.firmware import noise
    from engines.rehearsal.stage import Staged

    if not shutil.which("smbclient"):
        raise Refused("smbclient is not installed: it reads the share as the board would", "apt-get install smbclient")
    disc = folder / "bios.iso"
    disc.write_bytes(bytes(16 * 2048 + 1) + b"CD001" + noise(1024 * 1024))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        smb_port = probe.getsockname()[1]
    password = secrets.token_urlsafe(12)
    manners = Manners(token="CSRF_TOKEN", lag=2)  # noqa: S106  a header's name
    with Board(password, smb_port, manners) as board:
        params = {
            "bmc": f"127.0.0.1:{board.port}",
            "iso": str(disc),
            "listen": f"127.0.0.1:{smb_port}",
            "insecure_http": True,
            "eject_after": 0.02,
        }
        yield Staged(Job(task="biosiso-insert", params=params), {"password": Secret(password)})
