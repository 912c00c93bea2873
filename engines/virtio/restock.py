"""After acceptance: the stock initrd is rebuilt with virtio and boots again by default, the custom one goes.

Also the way back file by file for a guest that has run since its conversion.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from engines.guest.surgery import Surgery
from engines.job.contract import BytesChange, Cancel, Change, CommandChange, Context, Events, Plan
from engines.job.errors import Refused
from engines.job.params import plain
from engines.job.runs import find
from engines.virtio import by_bus, initrd, naming, operation, swaps
from engines.virtio.edits import FileEdit
from engines.virtio.inventory import GuestInventory, is_custom
from engines.virtio.lines import bls, grub2, menus
from engines.virtio.lines.disks import NAMED, OLD, Disks
from engines.virtio.lines.grub1 import Entry
from engines.virtio.operation import Operation, Rebuild, SavedFiles
from engines.virtio.params import PutBackParams, RestockParams
from engines.virtio.perform import OnOldGuest, carry_out, steps
from engines.virtio.results import Changed


class Restock(OnOldGuest[RestockParams]):
    """`crashcart virtio restock`."""

    name: ClassVar[str] = "virtio-restock"
    verb: ClassVar[str] = "restock"
    title: ClassVar[str] = "Make the stock boot entry boot from virtio"
    result: ClassVar[type[Changed]] = Changed
    params: type[RestockParams] = RestockParams

    @override
    def decide(self, params: RestockParams, cancel: Cancel) -> tuple[Plan, Operation]:
        operation.refuse_boot_test(params)
        surgery, patient = operation.begin(params, cancel)
        with operation.closing_on_error(surgery):
            decided = _restocking(params, surgery, patient)
            decided.refuse_full_boot()
            return _sealed(self.name, params, decided, params.boot_test), decided

    @override
    def carry_out(self, decided: Operation, plan: Plan, context: Context) -> Events:
        params: RestockParams = plan.params
        done = f"the stock boot entry of {plan.target} is the one that boots from virtio"
        return carry_out(decided, context, params.to_disk, ("Start the guest.",), params.boot_test, done)


def _restocking(params: RestockParams, surgery: Surgery, patient: GuestInventory) -> Operation:
    disks = naming.of(patient, params.from_disk or stock_disk(patient), params.to_disk, len(params.also)).disks
    text, rebuilds, removed, found = patient.loader.text, [], [], []
    default = patient.loader.entry
    for entry in [each for each in patient.loader.entries if is_custom(each.initrd)]:
        stock = next(
            (each for each in patient.loader.entries if each.version == entry.version and not is_custom(each.initrd)),
            None,
        )
        kernel = next((each for each in patient.kernels if each.version == entry.version), None)
        if stock is None or kernel is None or stock.xen:
            continue
        _refuse_other_disk("".join(stock.lines), disks)
        name, gone = stock.initrd.rsplit("/", 1)[-1], entry.initrd.rsplit("/", 1)[-1]
        command = patient.tool.command(kernel, name, xen=False, root=patient.system.root)
        rebuilds.append(Rebuild(entry.version, name, name, command, initrd.must_hold(patient.system, kernel)))
        removed.append(f"/boot/{gone}")
        if patient.loader.snippets:
            found += _snippets(patient, stock, entry, disks, is_default=entry is default)
        else:
            text = _menu(patient, text, stock, gone, disks, is_default=entry is default)
    if not rebuilds:
        raise Refused(
            "the boot menu has no entry that a conversion made", "convert the guest first: crashcart virtio convert"
        )
    before, after = patient.loader.text.encode("latin-1"), text.encode("latin-1")
    if after != before:
        found.append(FileEdit(patient.loader.path, before, after))
    return Operation(surgery, patient, found, [], rebuilds, removed, old_disk=params.to_disk)


def _snippets(patient: GuestInventory, stock: Entry, entry: Entry, disks: Disks, *, is_default: bool) -> list[FileEdit]:
    """The stock snippet with the new disk's name, the default again if the custom one was; the custom one goes.

    With the default, the arguments that snippets of kernels to come will use get that name, too.
    """
    loader = patient.loader
    path, gone = bls.path_of(loader.snippets, stock), bls.path_of(loader.snippets, entry)
    before = loader.snippets[path]
    after = bls.renamed(before, disks, loader.kernel_options)
    block = patient.system.read(loader.environment) or b""
    chosen = block
    if is_default:
        chosen = bls.with_options(bls.with_default(block, path.rsplit("/", 1)[-1].removesuffix(".conf")), disks)
    edits = [
        FileEdit(path, before.encode("latin-1"), after.encode("latin-1")),
        FileEdit(loader.environment, block, chosen),
        FileEdit(gone, loader.snippets[gone].encode("latin-1"), None),
    ]
    return [each for each in edits if each.before != each.after]


def stock_disk(patient: GuestInventory) -> str:
    """What the stock entries call the disk: the conversion left them as they were."""
    for entry in patient.loader.entries:
        for root in by_bus.roots(entry.lines if not is_custom(entry.initrd) else ()):
            if found := OLD.fullmatch(root):
                return found.group(1)
    return ""


def _refuse_other_disk(stanza: str, disks: Disks) -> None:
    """A stock entry that keeps another disk's name would not boot as the default."""
    named = sorted(set(NAMED.findall(stanza)) - {disks.old, disks.new})
    if named:
        raise Refused(f"the stock entry names {named[0]}, not {disks.old}", f"give --from-disk {named[0]}")


def _menu(patient: GuestInventory, text: str, stock: Entry, gone: str, disks: Disks, *, is_default: bool) -> str:
    """The stock entry with the new disk's name, and the default again if the custom one was; the custom one goes."""
    called = replace(stock, told="").version  # as the menu's own text tells it
    if patient.loader.generation == menus.GRUB2:
        text = grub2.without_entry(grub2.renamed(text, called, disks), gone)
        saved = "${saved_entry}" if "load_env" in text and "saved_entry" in text else stock.title
        return grub2.default_to(text, saved) if is_default else text
    lines = menus.plain(patient.loader.generation)
    now = lines.default(text)
    text = lines.without_entry(lines.renamed(text, called, disks), gone)
    name = stock.initrd.rsplit("/", 1)[-1]
    number = lines.number_of(text, name)
    return lines.with_default(text, number if is_default and number is not None else now)


def _sealed(name: str, params: Any, decided: Operation, boot_test: bool) -> Plan:
    target = decided.surgery.target
    built = [
        CommandChange(
            where="the guest", command=each.command, expects=f"/boot/{each.image} holds {', '.join(each.wanted)}"
        )
        for each in decided.rebuilds
    ]
    gone: list[Change] = [BytesChange(target=path, summary="removed from the guest") for path in decided.removed]
    return Plan(
        task=name,
        target=params.image,
        params=plain(params),
        steps=steps(boot_test),
        changes=(*(each.change for each in decided.edits), *built, *gone),
        facts=(
            ("image", f"{params.path.name}: {target.kind}, disk of {target.disk >> 20} MiB"),
            ("guest", f"{decided.inventory.hostname}: {decided.inventory.release}"),
        ),
        undo="crashcart undo puts every original byte back, until the guest has run",
        confirm=params.path.name,
        state=decided.state(),
    ).sealed()


class PutBack(OnOldGuest[PutBackParams]):
    """`crashcart virtio putback`: the edited files as they were, inside a guest that has run since."""

    name: ClassVar[str] = "virtio-putback"
    verb: ClassVar[str] = "putback"
    title: ClassVar[str] = "Bring a conversion's files back into a guest that has run since"
    result: ClassVar[type[Changed]] = Changed
    params: type[PutBackParams] = PutBackParams

    @override
    def decide(self, params: PutBackParams, cancel: Cancel) -> tuple[Plan, Operation]:
        run = find(params.run)
        try:
            saved = msgspec.json.decode((run.folder / "files.json").read_bytes(), type=SavedFiles)
        except FileNotFoundError:
            raise Refused(f"run {run.id} saved no files", "name a conversion that came to its end") from None
        surgery, patient = operation.begin(params, cancel)
        with operation.closing_on_error(surgery):
            decided = _putting_back(surgery, patient, saved)
            return _sealed(self.name, params, decided, boot_test=False), decided

    @override
    def carry_out(self, decided: Operation, plan: Plan, context: Context) -> Events:
        params: PutBackParams = plan.params
        then = ("Give the guest its old disk bus back in the domain, then start it.",)
        done = f"{plan.target} has its files of before run {params.run} back"
        return carry_out(decided, context, "", then, boot_test=False, done=done)


def _putting_back(surgery: Surgery, patient: GuestInventory, saved: SavedFiles) -> Operation:
    found = []
    for each in saved.files:
        now = patient.system.read(each.path)
        gone = now is None and swaps.SWAP.fullmatch(each.path)  # a cache that is gone stays so
        if gone or (now is not None and now != each.before and each.after):
            found.append(FileEdit(each.path, now, each.before))
    made = [path for path in saved.made if patient.size(path)]
    if not found and not made:
        raise Refused("the guest's files are as they were before that run", "nothing is to be done")
    return Operation(surgery, patient, found, removed=made)
