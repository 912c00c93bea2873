"""The tasks that the contract suite holds to their promises, each with a target made for it."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from engines import tasks
from engines.backup.repository import config
from engines.backup.repository import protected as protected_points
from engines.backup.repository.byte_source import unpinned
from engines.backup.repository.repository import Repository
from engines.fleet.ledger.holds import holds
from engines.fleet.ledger.ledger import Ledger
from engines.guest import operation
from engines.job.contract import AnyEvent, Engine, Log, Measured, Plan
from engines.job.jobfile import Job
from engines.job.params import Secret
from engines.job.work import Work
from engines.rehearsal import disk, firmware
from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT
from engines.rehearsal.switches import Rehearsal
from tests.contract.copier import Copier
from tests.engines.backup import lab as backup_lab
from tests.engines.backup.guests.host import domain, node, raw
from tests.engines.biosiso.bmc import redfish_board, redfish_emulator
from tests.engines.failover.stage import open_stage
from tests.engines.vdx.conftest import QUICK, knobs
from tests.ports import free_port

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """One staged target: the job that works on it, and what its promises are about."""

    engine: Engine[Any]
    job: Job
    state: Callable[[], Any]
    secrets: dict[str, Secret] = field(default_factory=dict)

    @property
    def work(self) -> Work[Any]:
        return Work.of(self.engine, self.job.params, self.secrets)

    def plan(self) -> Plan:
        return self.work.plan()


@dataclass(frozen=True)
class Case:
    """One engine. `stage` fills an empty folder and gives the parameters, or a target that lives within a `with`.

    wrong: changes of the parameters into refusals. adds: it only adds to what is there, so that a stop, a kill or an
    undo may leave more than there was, and changes nothing of that. until: the event at which a run that goes on until
    it is stopped is asked to. moments: how many events it is stopped or killed at, spread evenly; 0 for all of them.
    passes: what it does is over when it ends, and its target as before. apart: killed in a process of its own, since a
    fork would take this process's servers along.
    """

    name: str
    engine: Callable[[], Engine[Any]]
    stage: Callable[[Path], Any]
    wrong: tuple[dict[str, Any], ...]
    adds: bool = False
    until: Callable[[AnyEvent], bool] | None = None
    moments: int = 0
    passes: bool = False
    apart: bool = False

    @contextmanager
    def staged(self, folder: Path) -> Iterator[Target]:
        """The target, while it stands."""
        folder.mkdir(parents=True, exist_ok=True)
        made = self.stage(folder)
        if isinstance(made, dict):
            yield Target(self.engine(), Job(task=self.engine().name, params=made), lambda: contents(folder))
            return
        with made as target:
            yield target

    def few(self, moments: list[T]) -> list[T]:
        """As many of them as are tried."""
        if not self.moments or len(moments) <= self.moments:
            return moments
        return [moments[at * (len(moments) - 1) // max(self.moments - 1, 1)] for at in range(self.moments)]

    def kept(self, before: Any, after: Any) -> bool:
        """Whether the target is as it was, as far as this engine promises that."""
        return before == after or (self.adds and all(after.get(name) == seen for name, seen in before.items()))


def copied(folder: Path) -> dict[str, Any]:
    (folder / "source").write_text("cold console")
    (folder / "out").write_text("warm bed")
    return {"source": str(folder / "source"), "output": str(folder / "out"), "warn": True}


def copied_anew(folder: Path) -> dict[str, Any]:
    return {**copied(folder), "output": str(folder / "new")}


@cache
def firmware_made() -> Path:
    """One rehearsal package for all cases: assembling and packing it takes longer than a build."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    firmware.make(folder)
    return folder


def disc(folder: Path) -> dict[str, Any]:
    shutil.copytree(firmware_made(), folder, dirs_exist_ok=True)
    return {
        "firmware": str(folder / "x9scm2_608.zip"),
        "dos": str(folder / "probe" / "BTDSK.IMG"),
        "output": str(folder / "out" / "bios.iso"),
        "board": "X9SCM-F",
    }


def disc_over_a_file(folder: Path) -> dict[str, Any]:
    params = disc(folder)
    Path(params["output"]).write_bytes(b"an older disc")
    return params


def biosiso() -> Engine[Any]:
    return tasks.engine("biosiso")


def lab(folder: Path) -> dict[str, Any]:
    """One curl against one reset: a lab of half a second."""
    given = {"clients": ["curl"], "faults": ["rst"], "ladder": "short", "runs": 1, "cap": 10}
    return {**given, "output": str(folder / "table.yaml")}


def failover() -> Engine[Any]:
    return tasks.engine("failover")


def repository(folder: Path) -> dict[str, Any]:
    """A backup repository that is to be made."""
    (folder / "beside").write_text("not ours")
    return {"repo": str(folder / "repo")}


def restored(folder: Path) -> dict[str, Any]:
    """A disk of three points, restored to a new file."""
    params = disk.make(folder)
    return {"repo": params["repo"], "point": f"{disk.VM}/{disk.DISK}@latest", "target": str(folder / "new")}


def pruned(folder: Path) -> dict[str, Any]:
    """Two of three points taken out."""
    return {"repo": disk.make(folder)["repo"], "keep_last": 1}


@cache
def point_made() -> tuple[Path, str]:
    """A repository with one point of a small ext4 disk, and the point's name."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "tree/etc").mkdir(parents=True)
    for name in ("etc/hosts", "etc/motd", "readme"):
        (folder / "tree" / name).write_text(name * 1000)
    image = folder / "image"
    words = ["mkfs.ext4", "-q", "-d", str(folder / "tree"), str(image), "4M"]
    subprocess.run(words, check=True, capture_output=True)
    repo = backup_lab.init(folder / "repo")
    return Path(repo), backup_lab.backup(repo, image)


def taken(folder: Path) -> dict[str, Any]:
    """A few files out of a point, beside one that is there."""
    repo, point = point_made()
    shutil.copytree(repo, folder / "repo")
    (folder / "out").mkdir()
    (folder / "out/mine").write_text("not the guest's")
    return {"repo": str(folder / "repo"), "paths": [f"{point}:/etc", "/readme"], "dest": str(folder / "out")}


def archived(folder: Path) -> dict[str, Any]:
    """The same as an archive."""
    return {**taken(folder), "dest": str(folder / "out.tar"), "tar": True}


def of_repository(task: str, folder: Path, params: dict[str, Any]) -> Target:
    """What counts of a repository is what its points hold; its files are made anew, merged and swept at any time."""

    def state() -> dict[str, str]:
        with Repository.open(params["repo"]) as repository:
            found = {}
            for name in repository.names():
                with unpinned(repository, name) as content:
                    found[str(name)] = hashlib.sha256(content.read(0, content.size)).hexdigest()
        others = contents(folder)
        return found | {name: others[name] for name in others if not name.startswith("repository")}

    return Target(tasks.engine(task), Job(task=task, params=params), state)


@contextmanager
def backed_up(folder: Path) -> Iterator[Target]:
    """A fourth point of a disk."""
    yield of_repository("backup", folder, disk.make(folder))


@contextmanager
def upkept(folder: Path) -> Iterator[Target]:
    """A repository with points, and one that was pruned."""
    repo = disk.make(folder)["repo"]
    backup_lab.done("backup-prune", repo=repo, keep_last=2)
    yield of_repository("backup-gc", folder, {"repo": repo})


@contextmanager
def verified(folder: Path) -> Iterator[Target]:
    yield of_repository("backup-verify", folder, {"repo": disk.make(folder)["repo"]})


def two_repositories(folder: Path) -> tuple[str, str, str]:
    """One with a point, an empty one beside it, and the point."""
    repo, point = point_made()
    shutil.copytree(repo, folder / "repository")
    return str(folder / "repository"), backup_lab.init(folder / "repository2"), point


@contextmanager
def copied_to_another(folder: Path) -> Iterator[Target]:
    """A point in a second repository, which is what counts."""
    repo, other, _ = two_repositories(folder)
    of = of_repository("backup-copy", folder, {"repo": other})
    yield Target(of.engine, Job(task="backup-copy", params={"repo": repo, "to": other}), of.state)


@contextmanager
def exported(folder: Path) -> Iterator[Target]:
    repo, _, point = two_repositories(folder)
    yield of_repository("backup-export", folder, {"repo": repo, "point": point, "file": str(folder / "web1.tar")})


@contextmanager
def imported(folder: Path) -> Iterator[Target]:
    repo, other, point = two_repositories(folder)
    backup_lab.done("backup-export", repo=repo, point=point, file=str(folder / "web1.tar"))
    yield of_repository("backup-import", folder, {"repo": other, "file": str(folder / "web1.tar")})


@contextmanager
def protected(folder: Path) -> Iterator[Target]:
    repo, _, point = two_repositories(folder)
    of = of_repository("backup-protect", folder, {"repo": repo, "point": point})

    def state() -> dict[str, str]:
        found: dict[str, str] = of.state()
        with Repository.glance(repo) as glance:
            return found | {str(name): "protected" for name in protected_points.every(glance)}

    yield Target(of.engine, of.job, state)


@contextmanager
def renamed(folder: Path) -> Iterator[Target]:
    repo, _, _ = two_repositories(folder)
    yield of_repository("backup-rename", folder, {"repo": repo, "vm": "web1", "to": "shop"})


def of_a_point(folder: Path) -> dict[str, Any]:
    repo, point = point_made()
    shutil.copytree(repo, folder / "repo")
    return {"repo": str(folder / "repo"), "point": point}


def mounted(folder: Path) -> dict[str, Any]:
    (folder / "shown").mkdir()
    return {**of_a_point(folder), "folder": str(folder / "shown")}


def served(folder: Path) -> dict[str, Any]:
    return {**of_a_point(folder), "nbd": str(folder / "disk.sock")}


@contextmanager
def switches(folder: Path) -> Iterator[Target]:
    """Two switches of which one gets a vcs id of its own; what counts is how both are configured and what they run."""
    with Rehearsal(knobs(), knobs()) as pair:
        job = Job(task="vdx", params={**pair.params(), **QUICK})
        secrets = {"password": Secret(pair.password)}

        def state() -> Any:
            return [(each.vcsid, each.shown(), each.startup == each.running) for each in (pair.a, pair.b)]

        yield Target(tasks.engine("vdx"), job, state, secrets)


@contextmanager
def inserted(folder: Path) -> Iterator[Target]:
    """A board with an empty drive."""
    with redfish_board.Board() as board:
        job = redfish_board.job(redfish_emulator.make_disc(folder), board.port)

        def state() -> Any:
            return {path: board.tree(path) for path in (redfish_board.SLOT, redfish_board.SYSTEM)}

        yield Target(tasks.engine("biosiso-insert"), job, state, {"password": Secret(redfish_emulator.PASSWORD)})


@contextmanager
def watched(folder: Path) -> Iterator[Target]:
    """A name of two addresses, of which nobody answers."""
    with open_stage() as stage:
        at = stage.names("shop.test", ["127.0.0.2", "127.0.0.3"])[1]
        given = {"name": "shop.test", "resolver": [at], "scheme": "http", "port": free_port(), "interval": 1}
        yield Target(tasks.engine("failover-watch"), Job(task="failover-watch", params=given), lambda: contents(folder))


@cache
def guest_made() -> Path:
    """One small guest on hda; building it takes longer than to copy it."""
    folder = Path(tempfile.mkdtemp(prefix="crashcart-contract-"))
    atexit.register(shutil.rmtree, folder)
    build(DEFAULT, folder / "guest.img")
    return folder / "guest.img"


@contextmanager
def converted(folder: Path) -> Iterator[Target]:
    """A guest on hda."""
    image = folder / "guest.img"
    subprocess.run(["cp", "--sparse=always", guest_made(), image], check=True)
    job = Job(task="virtio", params={"image": str(image), "boot_test": False})
    yield Target(tasks.engine("virtio"), job, lambda: hashlib.sha256(image.read_bytes()).hexdigest())
    operation.kept.close_all()


def fleet_of_one(folder: Path) -> tuple[str, dict[str, Any]]:
    """A repository, and the fleet.yaml of this host as its own hypervisor, with one guest that is off."""
    image = backup_lab.disk(folder / "web1.img", {0: 1}, backup_lab.MIB)
    uri = node(folder / "host.xml", domain(1, "web1", raw(image)))
    repo, path = backup_lab.init(folder / "repository"), folder / "fleet.yaml"
    path.write_text(
        f"hosts: {{hv1: {{ssh: local, connect: '{uri}'}}}}\nrepositories: {{near: {{url: '{repo}'}}}}\n"
        "policies: {gold: {to: [near], retries: 0}}\nguests: [{match: all, policy: gold}]\n"
        f"ledger: {folder}/ledger.sqlite\n"
    )
    return repo, {"fleet": str(path)}


@contextmanager
def rounded(folder: Path) -> Iterator[Target]:
    """A fleet of one guest; what counts is what its points hold."""
    repo, given = fleet_of_one(folder)
    of = of_repository("backup-verify", folder, {"repo": repo})

    def state() -> dict[str, str]:
        return {name: seen for name, seen in of.state().items() if "ledger.sqlite" not in name}

    yield Target(tasks.engine("fleet"), Job(task="fleet", params={**given, "only": "*", "now": True}), state)


def of_holds(task: str, folder: Path, **params: str) -> Target:
    """What counts is what is held."""

    def state() -> dict[str, str]:
        with Ledger(folder / "ledger.sqlite") as ledger:
            return {hold.id: hold.words for hold in holds(ledger)}

    return Target(tasks.engine(task), Job(task=task, params={"fleet": str(folder / "fleet.yaml"), **params}), state)


@contextmanager
def held(folder: Path) -> Iterator[Target]:
    """A host that is held."""
    fleet_of_one(folder)
    yield of_holds("fleet-hold", folder, name="hv1", why="its memory is swapped")


@contextmanager
def released(folder: Path) -> Iterator[Target]:
    """One that was, and is seen to again."""
    fleet_of_one(folder)
    backup_lab.done("fleet-hold", fleet=str(folder / "fleet.yaml"), name="near", why="it moves")
    yield of_holds("fleet-release", folder, name="near")


@contextmanager
def keyed(folder: Path) -> Iterator[Target]:
    """A locked repository, what opens it, and another key; its state is which keys open it."""
    for name in ("first", "second"):
        (folder / name).write_bytes(os.urandom(32))
    repo = backup_lab.init(folder / "repo", cipher="aes-256-gcm", key_file=str(folder / "first"))
    params = {"repo": repo, "key_file": str(folder / "first"), "name": "other", "new_key_file": str(folder / "second")}

    def state() -> dict[str, str]:
        with Repository.glance(repo) as glance:
            return {way.name: way.kind for way in config.ways(glance.config)}

    yield Target(tasks.engine("backup-key-add"), Job(task="backup-key-add", params=params), state)


def running(event: AnyEvent) -> bool:
    """It is there: from here on it goes on until it is stopped."""
    return isinstance(event, Measured | Log)


def named(name: str) -> Callable[[], Engine[Any]]:
    return lambda: tasks.engine(name)


NO_REPO = {"repo": "/nowhere"}
POINTS: tuple[dict[str, Any], ...] = (NO_REPO, {"point": "web9/disk0@latest"}, {"point": "x"})
CASES = (
    Case("copier", Copier, copied, ({"source": "/nowhere"},)),
    Case("copier anew", Copier, copied_anew, ({"source": "/nowhere"},)),
    Case(
        "biosiso", biosiso, disc, ({"firmware": "/nowhere"}, {"dos": ""}, {"output": "/nowhere/x.iso"}, {"rom": "x.1"})
    ),
    Case("biosiso over a file", biosiso, disc_over_a_file, ({"board": "X9SCM-iiF"}, {"switches": "/X"})),
    Case(
        "biosiso insert",
        named("biosiso-insert"),
        inserted,
        ({"iso": "/nowhere"}, {"bmc": "127.0.0.1:1"}),
        moments=6,
        passes=True,
    ),
    Case("backup init", named("backup-init"), repository, ({"repo": "/nowhere/x"}, {"repo": "/etc"})),
    Case(
        "backup",
        named("backup"),
        backed_up,
        (NO_REPO, {"source": "/nowhere"}, {"vm": "a b"}, {"limit": "fast"}),
        adds=True,
        moments=8,
    ),
    Case("backup restore", named("backup-restore"), restored, (*POINTS, {"target": "/nowhere/x"})),
    Case(
        "backup get",
        named("backup-get"),
        taken,
        (NO_REPO, {"paths": ["web9/disk0@latest:/"]}, {"paths": ["x"]}, {"dest": "/nowhere/x"}),
    ),
    Case(
        "backup get --tar",
        named("backup-get"),
        archived,
        (NO_REPO, {"paths": ["/etc"]}, {"dest": "/etc"}, {"dest": "/nowhere/x"}),
    ),
    Case("backup prune", named("backup-prune"), pruned, ({"keep_last": 0}, NO_REPO)),
    Case("backup verify", named("backup-verify"), verified, (NO_REPO,), adds=True, moments=6),
    Case("backup gc", named("backup-gc"), upkept, (NO_REPO,), moments=6),
    Case("backup copy", named("backup-copy"), copied_to_another, (NO_REPO, {"to": "/nowhere"}), adds=True, moments=3),
    Case("backup export", named("backup-export"), exported, (*POINTS, {"file": "/nowhere/x.tar"}), moments=4),
    Case("backup import", named("backup-import"), imported, (NO_REPO, {"file": "/nowhere"}), adds=True, moments=3),
    Case("backup protect", named("backup-protect"), protected, POINTS, moments=2),
    Case("backup rename", named("backup-rename"), renamed, (NO_REPO, {"vm": "web9"}, {"to": "a b"}), moments=3),
    Case("backup key add", named("backup-key-add"), keyed, (NO_REPO, {"name": "first"})),
    Case("backup mount", named("backup-mount"), mounted, (*POINTS, {"folder": "/nowhere"}), until=running, moments=4),
    Case("backup serve", named("backup-serve"), served, (*POINTS, {"nbd": "/nowhere/x"}), until=running, moments=4),
    Case("fleet", named("fleet"), rounded, ({"fleet": "/nowhere"},), adds=True, moments=1),
    Case("fleet hold", named("fleet-hold"), held, ({"fleet": "/nowhere"}, {"name": "web9"}, {"why": " "}), moments=3),
    Case("fleet release", named("fleet-release"), released, ({"fleet": "/nowhere"}, {"name": "web9"}), moments=2),
    Case("failover", failover, lab, ({"clients": ["mosaic"]}, {"faults": ["fire"]}, {"output": "/etc/hostname"})),
    Case("failover watch", named("failover-watch"), watched, ({"name": "a b"},), until=running, moments=3),
    Case("vdx", named("vdx"), switches, ({"interface": "x"}, {"switch": "127.0.0.1:1"}), moments=2, apart=True),
    Case(
        "virtio",
        named("virtio"),
        converted,
        ({"image": "/nowhere"}, {"image": "/etc/hostname"}, {"from_disk": "sdq"}),
        moments=2,
    ),
)


# Engines without a case here, and what holds them instead.
ELSEWHERE = {
    "backup-boot": "boots a guest: tests/engines/backup/commands/test_boot.py",
    "backup-prove": "boots a guest: tests/engines/backup/commands/test_boot.py",
    "backup-put": "writes through an appliance: tests/engines/backup/put",
    "backup-snapshots": "needs LVM, in a guest: tests/engines/backup/sources/lvm",
    "backup-guest": "tests/engines/backup/commands/test_guest.py",
    "backup-key-remove": "of one kind with backup-key-add: tests/engines/backup/commands/test_key.py",
    "backup-key-rotate": "of one kind with backup-key-add: tests/engines/backup/commands/test_key.py",
    "backup-lock": "needs a bucket with Object Lock: tests/engines/backup/store",
    "backup-rewind": "needs a bucket with versions: tests/engines/backup/commands/test_tamper.py",
    "virtio-restock": "boots an appliance: tests/engines/virtio",
    "virtio-putback": "boots an appliance: tests/engines/virtio",
    "fleet-verify": "reads only, as backup-verify: tests/engines/fleet/test_spread.py",
}


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file below `folder`: mode, mtime in ns, SHA-256."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path.is_symlink())
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_mtime_ns if path.is_file() else 0, content)
    return found


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its SHA-256."""
    return {name: seen[2] for name, seen in snapshot(folder).items()}
