"""Lines to far machines that the stores of this process share, so that a run logs in once, whatever it opens."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from engines.backup.store.sftp.access import SftpAccess, SftpAddress
from engines.backup.store.sftp.line import Line

LINGER = 20.0  # s that a line which nobody uses waits for the next store: a plan is followed by its run
Key = tuple[str, str, str, str, float]

_lock = threading.Lock()
_lines: dict[Key, _Shared] = {}


@dataclass
class _Shared:
    """A line, and how many stores use it; `turns` counts how often it came out of use."""

    line: Line
    users: int = 0
    turns: int = 0
    opening: threading.Lock = field(default_factory=threading.Lock)


def take(address: SftpAddress, access: SftpAccess) -> Line:
    """A line that is up, the one that is there where there is one. Raises Refused where it cannot be made."""
    key = _key(address, access)
    with _lock:
        shared = _lines.get(key)
        if shared is None:
            shared = _lines[key] = _Shared(Line(address, access))
        shared.users += 1
    try:
        with shared.opening:
            if not shared.line.up:
                shared.line.open()
    except BaseException:
        give_back(shared.line)
        raise
    return shared.line


def give_back(line: Line) -> None:
    """A store has done with it; a line without users is hung up after a while."""
    with _lock:
        for key, shared in _lines.items():
            if shared.line is line:
                shared.users -= 1
                shared.turns += 1
                if not shared.users:
                    _hang_up_later(key, shared)
                return


def hang_up() -> None:
    """Hang up at once what nobody uses."""
    with _lock:
        idle = [key for key, shared in _lines.items() if not shared.users]
        ended = [_lines.pop(key) for key in idle]
    for shared in ended:
        shared.line.end()


def _hang_up_later(key: Key, shared: _Shared) -> None:
    turn = shared.turns

    def if_idle() -> None:
        with _lock:
            if shared.users or shared.turns != turn or _lines.get(key) is not shared:
                return
            del _lines[key]
        shared.line.end()

    timer = threading.Timer(LINGER, if_idle)
    timer.daemon = True
    timer.start()


def _key(address: SftpAddress, access: SftpAccess) -> Key:
    password = access.password.reveal() if access.password else ""
    return address.place, access.key_file, password, access.host_key, access.patience
