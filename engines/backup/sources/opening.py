"""A disk is opened by the kind that knows it; several of one VM, of one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from engines.backup.sources import foreign
from engines.backup.sources.options import SourceOptions
from engines.backup.sources.source import Format, Source, SourceOpener
from engines.job.errors import Refused

Each = Callable[[str, Format, SourceOptions], AbstractContextManager[Source]]


def openers(wish: SourceOptions, *, volumes: bool = True) -> tuple[SourceOpener, ...]:
    """The kinds, the most particular first; without that of volumes where it cannot be one."""
    from engines.backup.sources.plain import Plain
    from engines.backup.sources.qcow2 import Qcow2

    if not volumes:
        return (Qcow2(wish), Plain())
    from engines.backup.sources.lvm.source import Lvm

    return (Lvm(wish), Qcow2(wish), Plain())


def open_source(where: str, form: Format = "auto", wish: SourceOptions | None = None) -> AbstractContextManager[Source]:
    """The source that `where` names, alive within the `with`. Raises Refused."""
    wish = wish or SourceOptions()
    return _opener(where, form, wish).open(Path(where), _known(where, form, wish))


def _look(where: str, form: Format, wish: SourceOptions) -> AbstractContextManager[Source]:
    return _opener(where, form, wish).look(Path(where), _known(where, form, wish))


def _known(where: str, form: Format, wish: SourceOptions) -> Format:
    """What it is opened as: what was said, else what is known of this disk alone."""
    return wish.forms.get(where, form) if form == "auto" else form


@contextmanager
def look_at(wheres: Sequence[str], form: Format, wish: SourceOptions) -> Iterator[tuple[Source, ...]]:
    """The sources, with nothing made for them. Raises Refused."""
    with _all(wheres, form, wish, _look, made=False) as found:
        yield found


@contextmanager
def open_together(wheres: Sequence[str], form: Format, wish: SourceOptions) -> Iterator[tuple[Source, ...]]:
    """The sources, alive within the `with`, volumes and disks of a QEMU all of one moment. Raises Refused."""
    with _all(wheres, form, wish, open_source, made=True) as found:
        yield found


@contextmanager
def _all(
    wheres: Sequence[str], form: Format, wish: SourceOptions, each: Each, *, made: bool
) -> Iterator[tuple[Source, ...]]:
    with ExitStack() as stack:
        if wish.qmp:
            from engines.backup.sources.qmp import source as qmp

            yield stack.enter_context((qmp.opened if made else qmp.looked)(_fit(wheres, wish), wish.qmp))
        elif _volumes(wheres, form, wish):
            from engines.backup.sources.lvm import source as lvm

            yield stack.enter_context((lvm.opened if made else lvm.looked)([Path(where) for where in wheres], wish))
        else:
            yield tuple(stack.enter_context(each(where, form, wish)) for where in wheres)


def _fit(wheres: Sequence[str], wish: SourceOptions) -> list[Path]:
    """The disks of a running QEMU. Raises Refused where something is wished that it does not do."""
    if wish.agent or wish.size or wish.hints != "none":
        raise Refused(
            "--qmp has QEMU hold the moment: --agent, --snapshot-size and --hints are of no use then", "leave them away"
        )
    for where in wheres:
        if not Path(where).exists():
            raise Refused(f"{where} does not exist", "name an image that the VM has open")
    return [Path(where) for where in wheres]


def _volumes(wheres: Sequence[str], form: Format, wish: SourceOptions) -> bool:
    """Whether all of them are LVM volumes. Raises Refused where only some are."""
    if not any(Path(where).is_block_device() for where in wheres):
        return False
    from engines.backup.sources.lvm.source import Lvm

    others = [where for where in wheres if not isinstance(_opener(where, form, wish), Lvm)]
    if others and len(others) < len(wheres):
        raise Refused(
            f"{others[0]} is no LVM volume, as others of these disks are: they cannot be of one moment",
            "back it up in a run of its own",
        )
    return not others


def _opener(where: str, form: Format, wish: SourceOptions) -> SourceOpener:
    path = Path(where)
    if not path.exists():
        raise Refused(f"{where} does not exist", "name an image file or a block device; an LVM volume must be active")
    if _known(where, form, wish) == "auto":
        foreign.refuse(path)
    for opener in openers(wish, volumes=path.is_block_device()):
        if opener.knows(path, _known(where, form, wish)):
            _suits(where, opener, wish)
            return opener
    raise Refused(f"{where} is neither a file nor a block device", "name an image file or a block device")


def _suits(where: str, opener: SourceOpener, wish: SourceOptions) -> None:
    """Raise Refused where what is wished means nothing for this kind of source: it would be ignored in silence."""
    if wish.hints == "none" and not wish.agent and not wish.size:
        return
    from engines.backup.sources.lvm.source import Lvm
    from engines.backup.sources.qcow2 import Qcow2

    if wish.hints == "thin" and not isinstance(opener, Lvm):
        raise Refused(f"{where} is no thin LVM volume, which --hints thin is for", "leave --hints away")
    if wish.hints == "bitmap" and not isinstance(opener, Qcow2):
        raise Refused(f"{where} is no qcow2 image, which --hints bitmap is for", "leave --hints away")
    if wish.agent and not isinstance(opener, Lvm):
        raise Refused(
            f"{where} is no LVM volume: no snapshot is made of it, and a VM cannot stand still for a whole backup",
            "leave --agent away, or back it up while its VM is off",
        )
    if wish.size and not isinstance(opener, Lvm):
        raise Refused(f"{where} is no LVM volume: no snapshot is made of it", "leave --snapshot-size away")
