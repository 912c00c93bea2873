"""Log in to a switch over a console line, which somebody may have left anywhere."""

from __future__ import annotations

import shlex
import shutil

from engines.job.errors import BadParam
from engines.vdx.line.access import LOGIN, Access, SessionOpener
from engines.vdx.line.patterns import Patterns, fits
from engines.vdx.line.session import ANY_PROMPT, Session, SessionLost, standing
from engines.vdx.line.terminal import Ended, Silent, Terminal
from engines.vdx.line.trouble import Trouble


def open_console(access: Access, lender: SessionOpener, seconds: float = 20.0) -> Session:
    """A session over the console command. Raises Trouble."""
    transcript = lender.transcript(access)
    if transcript:
        transcript.hide(access.password)
        transcript.mark(f"console: {access.console}")
    terminal = Terminal(console_argv(access.console), transcript, lender.patterns, lender.cancel, echo=False)
    session = Session(terminal, transcript, lender.patterns, "console")
    try:
        _pass_console(terminal, access, lender.patterns, seconds)
        session.learn()
        if session.context:
            session.run("end")
    except Ended as ended:
        session.close()
        raise Trouble("the console", "console", ended.said) from None
    except (Silent, SessionLost) as error:
        session.close()
        raise Trouble("the console", "silent", error.said) from None
    except BaseException:
        session.close()
        raise
    return session


def console_argv(command: str) -> list[str]:
    """The console command as an argument list. Raises BadParam."""
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise BadParam("console", command, f"a command with its arguments ({error})") from None
    found = shutil.which(argv[0]) if argv else None
    if found is None:
        raise BadParam("console", command, "a command that is installed here, such as telnet, console or cu")
    return [found, *argv[1:]]


def _pass_console(terminal: Terminal, access: Access, patterns: Patterns, seconds: float) -> None:
    def asked(text: str) -> str | None:
        last = text.rsplit("\n", 1)[-1]
        if fits(patterns.console_denied, text):
            return "denied"
        if fits(patterns.console_login, last):
            return "login"
        if fits(patterns.console_password, last):
            return "password"
        return "prompt" if ANY_PROMPT.fullmatch(last) else None

    said, tries, given = "", max(1, int(seconds / 2)), False
    for _ in range(tries):
        terminal.send("\r")
        try:
            said = terminal.until(asked, 2.0, settle=0.1)
            break
        except Silent:
            continue
    if said == "password":
        terminal.send("\r")
        said = terminal.until(asked, 10.0, settle=0.1)
    while said in ("login", "password", "denied"):
        if said == "denied" or (said == "login" and given):
            raise Trouble("the console", "auth", "the console did not accept the user or the password")
        if said == "login":
            terminal.send(access.user + "\r")
        else:
            terminal.send_secret(access.password)
            given = True
        said = terminal.until(standing(asked) if given else asked, LOGIN, settle=0.1)
    if said.startswith("asks "):
        raise Trouble("the console", "asks", said.removeprefix("asks "))
    if not said:
        raise Silent("", seconds)
