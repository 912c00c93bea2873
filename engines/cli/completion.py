"""What Tab can mean on a shell's command line: commands, options, runs, repositories, points, or files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from engines.cli import commands
from engines.tasks import TASKS

if TYPE_CHECKING:
    from engines.job.params import Field

FILES, FOLDERS = "\x01files", "\x01folders"
"""Instead of words: the shell's own completion of paths."""
EVERYWHERE = ("--help", "--version")
POINTS = ("point", "paths", "old", "new")


def answer(words: Sequence[str]) -> int:
    """Print what the last of `words` could become, one a line. What goes wrong is nobody's error at a Tab."""
    try:
        found = list(candidates([*words[:-1]], words[-1] if words else ""))
    except Exception:  # noqa: BLE001  a shell shows whatever is printed here in the middle of the line
        return 0
    sys.stdout.write("".join(f"{word}\n" for word in found))
    return 0


def candidates(before: Sequence[str], now: str) -> list[str]:
    """The words that begin with `now` and may stand after `before`, which lacks the word crashcart."""
    return [word for word in _possible(before, now) if word.startswith((now, "\x01"))]


def _possible(before: Sequence[str], now: str) -> Iterable[str]:
    if not before:
        return [*TASKS, *commands.BY_NAME, *EVERYWHERE]
    if before[0] == "help":
        return _possible(before[1:], now) if len(before) < 3 else []
    if before[0] in TASKS:
        return _of_task(before, now)
    command = commands.BY_NAME.get(before[0])
    return _of_command(command, before, now) if command else []


def _of_command(command: commands.Command, before: Sequence[str], now: str) -> Iterable[str]:
    options = dict(command.options)
    if (how := options.get(before[-1])) and "action" not in how:
        return tuple(how.get("choices", ()))
    if now.startswith("-"):
        return [*(name for name in options if name.startswith("-")), "--help"]
    place = len([word for word in before[1:] if not word.startswith("-")])
    named = [name for name in options if not name.startswith("-")]
    name = named[min(place, len(named) - 1)] if named else ""
    if name == "run":
        return ["last", *_runs()] if place == 0 else []
    if name == "task":
        return TASKS
    return [FILES] if name in ("job", "folder") else options.get(name, {}).get("choices", ())


def _of_task(before: Sequence[str], now: str) -> Iterable[str]:
    from engines.job.params import fields

    looks, engines = TASKS[before[0]].of(before[1] if len(before) > 1 else "")
    verbs: dict[str, Any] = {**{look.verb: look for look in looks}, **{engine.verb: engine for engine in engines}}
    if len(before) == 1 or before[1] not in verbs:
        return [*verbs, "--help"]
    declared = fields(verbs[before[1]].params)
    common = [name for name, _ in commands.RUN_OPTIONS] if engines else ["--json"]
    flags = {flag: field for field in declared if not field.positional for flag in _flags(field)}
    if (field := flags.get(before[-1])) and field.shape != "flag":
        return _values(field, before)
    if now.startswith("-"):
        return [*flags, *common, "--help"]
    places = [field for field in declared if field.positional]
    at = _place(before[2:], flags)
    if not places:
        return [*flags, *common]
    return _values(places[min(at, len(places) - 1)], before) if at < len(places) or _repeats(places) else []


def _flags(field: Field) -> list[str]:
    if field.shape == "secret":
        return [f"{field.flag}-file", f"{field.flag}-fd"]
    return [field.flag, f"--no-{field.flag[2:]}"] if field.shape == "flag" else [field.flag]


def _place(words: Sequence[str], flags: dict[str, Any]) -> int:
    """How many positional words there are already."""
    takes = {flag for flag, field in flags.items() if field.shape != "flag"} | {"--confirm"}
    return sum(not word.startswith("-") and (at == 0 or words[at - 1] not in takes) for at, word in enumerate(words))


def _repeats(places: Sequence[Field]) -> bool:
    return any(field.shape == "list" for field in places)


def _values(field: Field, before: Sequence[str]) -> Iterable[str]:
    if field.choices:
        return field.choices
    if field.shape == "secret" or field.kind in ("file", "output"):
        return [FILES]
    if field.name == "repo":
        return [*repositories(), FOLDERS]
    if field.name in POINTS:
        return points(before)
    if field.name == "run":
        return ["last", *_runs()]
    return [FOLDERS] if field.kind == "folder" else []


def _runs() -> list[str]:
    from engines.job import runs

    return [run.id for run in runs.every()]


def repositories() -> list[str]:
    """Those of earlier runs, the newest first, and the one of the environment."""
    from engines.job import runs
    from engines.job.errors import CrashcartError

    found = {os.environ.get("CRASHCART_REPO", ""): None}
    for run in runs.every()[:200]:
        try:
            found[str(run.job().params.get("repo", ""))] = None
        except (CrashcartError, OSError):
            continue
    return [where for where in found if where]


def points(before: Sequence[str]) -> list[str]:
    """The restore points of the repository that the line names; one far away is not asked at every Tab."""
    from engines.backup.repository.repository import Repository

    where = next((before[at + 1] for at, word in enumerate(before[:-1]) if word == "--repo"), "")
    where = where or os.environ.get("CRASHCART_REPO", "") or next(iter(repositories()), "")
    if not where or "://" in where:
        return []
    names = [str(name) for name in Repository.glance(where).names()]
    latest = sorted({f"{name.rpartition('@')[0]}@latest" for name in names})
    return [*latest, *names]


def script(shell: str) -> str:
    """What the shell reads to complete `crashcart`."""
    return {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]


BASH = r"""# bash completion of crashcart
_crashcart() {
    local line=${COMP_LINE:0:COMP_POINT} cur prefix word
    local -a words=()
    read -r -a words <<< "$line"
    [[ $line == *' ' ]] && words+=('')
    cur=${words[${#words[@]}-1]}
    # bash takes : = and @ for the ends of words; what it has put aside must not come twice
    prefix=${cur%"${COMP_WORDS[COMP_CWORD]}"}
    COMPREPLY=()
    while IFS= read -r word; do
        case $word in
            $'\x01files') compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur") ;;
            $'\x01folders') compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$cur") ;;
            *) COMPREPLY+=("${word#"$prefix"}") ;;
        esac
    done < <("${words[0]}" complete "${words[@]:1}" 2>/dev/null)
}
complete -F _crashcart crashcart
"""

ZSH = r"""#compdef crashcart
_crashcart() {
    local word
    local -a found
    for word in ${(f)"$($words[1] complete "${(@)words[2,$CURRENT]}" 2>/dev/null)"}; do
        case $word in
            $'\x01files') _files ;;
            $'\x01folders') _files -/ ;;
            *) found+=("$word") ;;
        esac
    done
    (( $#found )) && compadd -- $found
}
if [[ $funcstack[1] == _crashcart ]]; then _crashcart "$@"; else compdef _crashcart crashcart; fi
"""

FISH = r"""# fish completion of crashcart
function __crashcart_complete
    set -l words (commandline -opc)
    set -l now (commandline -ct)
    for word in ($words[1] complete $words[2..-1] "$now" 2>/dev/null)
        switch $word
            case \x01files
                __fish_complete_path "$now"
            case \x01folders
                __fish_complete_directories "$now" ''
            case '*'
                echo $word
        end
    end
end
complete -c crashcart -f -a '(__crashcart_complete)'
"""
