"""The same probe run on other machines over ssh, and its views joined with the ones from here."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec

from engines.failover.asking.probe import Probed, answer, ranked
from engines.failover.asking.site import SiteParams
from engines.failover.asking.verdict import judge
from engines.job.errors import BadParam
from engines.job.params import param
from engines.job.units import one_line

PLACE = re.compile(
    r"ssh://(?:([A-Za-z0-9_.][A-Za-z0-9_.-]*)@)?(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.][A-Za-z0-9_.-]*)(?::(\d{1,5}))?(/.*)?"
)
PATIENCE = 60.0  # s beyond the probe's own time-outs: a login, and an interpreter on a busy machine
ANSWERED = (0, 5, 6)  # exit codes of a probe that came to a verdict


class ProbeParams(SiteParams, frozen=True, kw_only=True):
    """Which site, and from where else it is looked at."""

    from_: Annotated[
        tuple[str, ...],
        param(
            "From",
            "also probe from this machine, where crashcart is installed, over ssh",
            allowed="ssh://[USER@]HOST[:PORT][/PATH/TO/crashcart]",
            metavar="ssh://HOST",
        ),
    ] = ()
    ssh_config: Annotated[str, param("ssh config", "for ssh, instead of your own", kind="file", metavar="FILE")] = ""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A probe from elsewhere: what it found, or why there is nothing."""

    place: str
    probed: Probed | None = None
    why: str = ""


class Joined(Probed, frozen=True, kw_only=True):
    """A probe from here with those from elsewhere. `verdict` and `survives` are the worst of all."""

    elsewhere: tuple[Place, ...] = ()


def joined(params: ProbeParams) -> Joined:
    """Probe from here and from everywhere that was named. Raises BadParam and Refused."""
    commands = [(place, command(place, params)) for place in params.from_]
    with ThreadPoolExecutor(max(1, len(commands))) as pool:
        waiting = [pool.submit(_asked, place, argv, float(params.timeout)) for place, argv in commands]
        here = answer(params)
        places = tuple(one.result() for one in waiting)
    fields = {name: getattr(here, name) for name in Probed.__struct_fields__}
    if not places:
        return Joined(**fields)
    return Joined(**(fields | _worst(here, places, bool(params.expect))), elsewhere=places)


def _worst(here: Probed, places: Sequence[Place], expected: bool) -> dict[str, object]:
    """Every place judged by what it saw, with gaps (no IPv6 there) filled by what another place saw."""
    found: list[tuple[str, Probed]] = [("", here)]
    found += [(one.place, one.probed) for one in places if one.probed]
    seen = {light.address: light for _, probed in found for light in probed.lights if light.state != "no-route"}
    outcomes = []
    reasons: list[str] = []
    for place, probed in found:
        lights = [seen.get(one.address, one) if one.state == "no-route" else one for one in probed.lights]
        verdict = judge(probed.records, lights, expected)
        outcomes.append((verdict.survives, f"from {place}: {verdict.words}" if place else verdict.words))
        reasons += [f"from {place}: {reason}" if place else reason for reason in verdict.reasons]
    outcomes += [(None, f"cannot be called yes: not judged from {one.place}: {one.why}") for one in places if one.why]
    survives, words = min(outcomes, key=lambda one: ranked(one[0]))
    told = {False: "no", None: "cannot be called yes", True: "yes"}[survives]
    return {
        "survives": survives,
        "verdict": words if words.startswith(told) else f"{told}: {words}",
        "reasons": tuple(reasons),
    }


def command(place: str, params: ProbeParams) -> list[str]:
    """The words that run the same probe at `place`. Raises BadParam."""
    found = PLACE.fullmatch(place)
    if not found or not 0 < int(found[3] or 22) < 65536:
        raise BadParam("from", place, "ssh://[USER@]HOST[:PORT][/PATH/TO/crashcart]")
    for name, given in (("ca_file", params.ca_file), ("client_cert", params.client_cert)):
        if given:
            raise BadParam(name, given, "none together with --from: the file lies here, not there")
    user, host, port, program = found.groups()
    ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-T"]
    ssh += ["-F", params.ssh_config] if params.ssh_config else []
    ssh += ["-p", port] if port else []
    ssh += ["-l", user] if user else []
    return [*ssh, "--", host.strip("[]"), shlex.join([program or "crashcart", *_words(params)])]


def _words(params: ProbeParams) -> list[str]:
    words = ["failover", "probe", params.name, "--json", f"--timeout={params.timeout}", f"--scheme={params.scheme}"]
    words += [f"--port={params.port}", f"--path={params.path}"]
    words += [f"--resolver={one}" for one in params.resolver] + [f"--header={one}" for one in params.header]
    words += [f"--expect={params.expect}"] if params.expect else []
    words += [f"--user-agent={params.user_agent}"] if params.user_agent else []
    return words + [flag for flag, on in (("--insecure", params.insecure), ("--follow", params.follow)) if on]


def _asked(place: str, argv: Sequence[str], timeout: float) -> Place:
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=PATIENCE + 4 * timeout, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return Place(place=place, why="ssh is not installed here: apt-get install openssh-client")
    except subprocess.TimeoutExpired:
        return Place(place=place, why=f"no answer within {PATIENCE + 4 * timeout:.0f} s")
    if done.returncode not in ANSWERED:
        said = [line for line in done.stderr[-4000:].decode("utf-8", "replace").splitlines() if line.strip()]
        last = one_line(said[-1].strip())[:200] if said else f"exit code {done.returncode}"
        helps = "; name the command at the end: ssh://HOST/PATH/TO/crashcart" if done.returncode == 127 else ""
        return Place(place=place, why=last + helps)
    try:
        return Place(place=place, probed=msgspec.json.decode(done.stdout, type=Probed))
    except msgspec.MsgspecError as error:
        return Place(place=place, why=f"its crashcart is another version ({one_line(str(error))[:120]})")


def table(found: Joined) -> str:
    """For people: the answer, then what was seen from here, then from elsewhere."""
    from engines.failover.asking import probe

    lines = [probe.table(found)]
    for one in found.elsewhere:
        lines += ["", f"from {one.place}: {one_line(one.probed.verdict if one.probed else one.why)}"]
        lines += probe.lamps(one.probed.lights) if one.probed else []
    return "\n".join(lines)
