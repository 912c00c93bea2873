"""How a scripted board lets someone in: by HTTP Basic, or by sessions only, whose tokens it may forget."""

from __future__ import annotations

import secrets
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.engines.biosiso.bmc.redfish_emulator import PASSWORD, secrets_pair

SESSIONS = "/redfish/v1/SessionService/Sessions"


class SessionHandler(BaseHTTPRequestHandler):
    """The part of a board's handler that asks who is there."""

    board: Any

    def entered(self, body: dict[str, Any]) -> bool:
        """Whether this was about a session, and is answered."""
        board = self.board
        if self.path == SESSIONS and self.command == "POST" and board.sessions:
            if body != {"UserName": "ADMIN", "Password": PASSWORD}:
                self.tell(401, {"error": {"message": "no such user"}})
            else:
                token = secrets.token_hex(8)
                board.open[token] = board.forgets or 10**6
                where = {"body": "", "relative": f"Sessions/{token}"}.get(
                    board.session_as, f"https://bmc.example{SESSIONS}/{token}"
                )
                more = {"Location": where} if where else {}
                self.tell(201, {"@odata.id": f"{SESSIONS}/{token}"}, {"X-Auth-Token": token, **more})
            return True
        if self.command == "DELETE":
            self.tell(204 if board.open.pop(self.path.rpartition("/")[2], 0) else 404, None)
            return True
        return False

    def known(self, login: str) -> bool:
        """Whether who asks is let in."""
        board = self.board
        if not board.sessions:
            return login == secrets_pair()
        token = self.headers.get("X-Auth-Token", "")
        left = board.open.get(token, 0)
        if left:
            board.open[token] = left - 1
        return left > 0

    def tell(self, status: int, tree: Any, headers: dict[str, str] | None = None) -> None:
        raise NotImplementedError
