"""What a booted guest lacks, by its console, its report and its own fstab; and what of it is new since another boot."""

from __future__ import annotations

import re

from engines.boot.console import CALLER
from engines.virtio.lines.disks import comment, split, unwrapped
from engines.virtio.reporter import Report

# "Failed" as the init scripts of Red Hat and Fedora say it elsewhere; a letter of Latin-1 cannot be read here.
ABROAD = (
    r"FEHLGESCHLAGEN|FEHLER|.?CHOU.{1,2}|.CHEC|FALL.{1,2}|FALLIDO|FALLITO|FALHOU|FALHA|MISLUKT|СБОЙ|ОШИБКА|НЕУДАЧА"
    r"|НЕВДАЧА|失敗|失败|실패|NIEUDANE|ZAWIOD.{1,2}O|SELHAL[OA]|CHYBA|BA.{1,2}ARISIZ|MISSLYCKADES|FEILET|MISLYKKEDES"
    r"|EP.{1,2}ONNISTUI|SIKERTELEN"
)
# A status that an init sets behind a step, or in front of it.
MARK = re.compile(
    rf"\[(?:FAILED|FAIL|fail|DEPEND|ASSERT| TIME | !! | {{0,3}}(?:{ABROAD}) {{0,3}})\]|\bfail(?:ed)?[.!]{{0,3}}$"
)
ALWAYS = re.compile(
    r"Timed out waiting for (?:device|/)|Dependency failed for |A dependency job for |: Job \S+ timed out"
    r"|respawning too fast|Failed services in runlevel|UNEXPECTED INCONSISTENCY|without full network configuration"
    r"|The disk drive for .{1,200} is not (?:ready yet|present)|does not seem to be present"
    r"|rrors? w(?:as|ere) found while|other host .{1,80}uses address|\[ ?SKIP ?\]"
    r"|An error occurred while mounting|No DHCPOFFERS received|No working leases|could not get a valid interface name"
    r"|udhcpc: no lease|filesystem failed to mount|Gave up waiting for suspend"
)
TOPIC = re.compile(
    r"mount|swap|fsck|file ?system|superblock|mdadm|raidautorun|findfs|LABEL=|UUID=|/dev/|\bdev-|network|interface|dhc"
    r"|ifup|wicked|RTNETLINK|\bSIOC|\broute\b|\bip:|ip address|IP information|resume|local-fs|rc\.inet"
    r"|\b(?:eth|em|wlan|bond)\d|\ben[opsx]\w*\d|\bp\d{1,3}p\d",
    re.IGNORECASE,
)
FAULT = re.compile(
    r"fail(?:ed|ure|ing)?\b(?!=)|\berror\b(?!s?=)|cannot|can't|could(?:n't| not)|unable|unknown|unreachable"
    r"|unresolv|unrecoverable|no such|not (?:found|exist|present|known|configured|running|a block|enough|mounted)"
    r"|different MAC|device-not-|no (?:link|suitable|interface|devices) |missing codepage|invalid|timed out|time-?out"
    r"|terminated with|exited with|exit status|wrong fs|bad superblock|already mounted|other host"
    r"|existiert nicht|nicht gefunden|fehlgeschlagen|(?:kann|konnte) nicht|n'existe pas|introuvable|impossib|\Wchec de"
    r"|Aucun fichier|no existe|no (?:se )?(?:encuentra|encontr|pudo)|non esiste|non trovat|n.{1,2}o (?:existe|encontr)"
    r"|falhou|не существует|не найден|не удалось|Нет такого|bestaat niet|niet gevonden|nie istnieje|nie znaleziono"
    r"|neexistuje|存在しません|見つかりません|不存在|未找到|找不到",
    re.IGNORECASE,
)
# A volume group is missed for a moment, until its disks are there; a boot says what comes of it.
TRANSIENT = re.compile(r"volume group|physical volume|crashcart-report:|Kernel command line")
# A timed kernel speaks in front of everything: only what an init or an initrd says through it counts.
THROUGH = re.compile(rf"(?:<\d{{1,3}}>)?(?:\[ *\d{{1,9}}\.\d{{1,9}}\]{CALLER} )?")
OWN = re.compile(r"[\w.@-]{1,64}\[\d+\]: |(?:dracut|init|systemd|mountall)\b")
# One of old has no time in front. Its words fall between a step and the step's status, at the end of the step's line
# too; they are told here by what drivers of that age begin with.
UNTIMED = re.compile(
    r"(?:^|(?<=[:.] )|(?<=  ))(?:[\w./-]{1,40} driver v?\d|[\w-]{1,40}: .{0,60}[Dd]river,? (?:- )?(?:version )?v?\d"
    r"|[hsv]d[a-z]\d{0,3}: |[hs]d \d+:\d|scsi\d|SCSI (?:device|subsystem)|ata\d{1,2}[.:]|ide\d: |FDC \d |Floppy drive"
    r"|Uniform CD-ROM driver|Vendor: |Attached scsi|input: |parport\d: |lp\d: |device-mapper: |md: |raid\d{1,2}: "
    r"|EXT[234](?:-fs| FS)|XFS: |XFS mounting|VFS: |FAT: |ReiserFS: |kjournald|Adding \d{1,12}k swap|ACPI: |PCI: "
    r"|NET: |IA-32 |microcode: |SELinux: |audit\(|type=\d{1,5} |ip6?_tables: |Netfilter mess|(?:ip|nf)_conntrack ver"
    r"|ADDRCONF|IPv6 over IPv4|Intel\(R\) PRO/|Copyright \(|(?:8139|e100|piix|i2c|usb|pnp)[\w.-]{0,20}[: ] ?[\w:.]+: "
    r"|\w{1,16}: (?:Disabled Privacy|link |RTL-?8|NIC |e1000|no IPv6)).*"
)
# What was only ever about the old machine: its loss is told, and no reason to keep the guest from the new one.
HARDWARE = re.compile(
    r"smartd|smartmontools|\bHDIO_|Self.Monitoring|SMART\b|hdparm|hddtemp|kudzu|mcelog|edac|lm_?sensors|ipmi|vmware|vmtools"
    r"|open-vm|vgauth|vbox|virtualbox|\bxe-|xenst|xenconsole|hyper-?v|\bhv[_-]",
    re.IGNORECASE,
)
DISK_OR_NETWORK = re.compile(r"mount|swap|fsck|file ?system|network|interface|\beth\d|local-fs", re.IGNORECASE)
VOLATILE = re.compile(
    rf"^(?:<\d{{1,3}}>)?(?:\[ *\d+\.\d+\]{CALLER} )?"
    r"|^[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d \S+ |\[\d+(?:\.\d+)?\]|\(\d+\)"
    r"|\b\d+(?:\.\d+)?(?:ms|min|s)\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b|\b0x[0-9a-f]+\b"
)
NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")  # of a try, a process, a status; eth0 and an address have others
LONGEST = 1000  # characters of a line that are looked at
MOST = 200  # complaints of one boot
NAME = re.compile(  # old kernels say it alone
    r"(?:/dev/|\bdev-|\bblock/)(?:(?:hd|sd|xvd|vd)[a-z]|(?:nvme\d+n\d+|cciss[/-]c\d+d\d+|mmcblk\d+)p?)"
    r"|(?<![\w./-])(?:(?:hd|sd|xvd|vd)[a-z](?=\d{0,3}(?![\w-]))|(?:nvme\d+n\d+|cciss/c\d+d\d+|mmcblk\d+)p?(?!\w*[a-z]))"
)
SWAPS = re.compile(r"(\d+) of (\d+) swaps are in use")
LEAST_DISK = 3


def said(text: str) -> list[str]:
    """Complaints on a console, each once, a disk's name and what differs from boot to boot left out.

    So two boots can be held against each other. A status alone on its line is told with the step before it.
    """
    found: dict[str, None] = {}
    before = ""
    for line in text.split("\n"):
        words = line[:LONGEST].strip()
        if not words:
            continue
        if _complains(words):
            found[_alike(f"{before} {words}" if not MARK.sub("", words).strip() else words)] = None
            if len(found) == MOST:
                break
        before = _step(words) or before
    return list(found)


def _step(words: str) -> str:
    """What an init says in a line, without what a kernel wrote behind it; empty where all is the kernel's."""
    through = THROUGH.match(words)
    if through and through.group() and not OWN.match(words, through.end()):
        return ""
    return UNTIMED.sub("", words).strip()


def _complains(line: str) -> bool:
    through = THROUGH.match(line)
    assert through is not None
    if (through.group() and not OWN.match(line, through.end())) or TRANSIENT.search(line):
        return False
    if MARK.search(line) or ALWAYS.search(line):
        return True
    return TOPIC.search(line) is not None and FAULT.search(line) is not None


def of_old_hardware(complaint: str) -> bool:
    """Whether it is about the machine that the guest has left, and about neither mounts nor network."""
    return HARDWARE.search(complaint) is not None and not DISK_OR_NETWORK.search(complaint)


def _alike(complaint: str) -> str:
    return " ".join(NUMBER.sub("#", NAME.sub("the disk", VOLATILE.sub("", complaint))).split())


def lacking(report: Report, fstab: str, network: bool, addresses: tuple[str, ...] = ()) -> list[str]:
    """What its own tables ask for and it does not have.

    network: its configuration brings a card up at boot. addresses: those that it gives to cards.
    """
    rows = [line.split() for line in split(fstab) if not comment(line)]
    rows = [row for row in rows if len(row) >= LEAST_DISK]
    wanted = [row for row in rows if "noauto" not in (row[3].split(",") if len(row) > LEAST_DISK else [])]
    found = [_alike(f"{unit} failed") for unit in report.failed]
    for spec, where, kind in (row[:3] for row in wanted):
        real = where.replace("\\040", " ").rstrip("/") or "/"
        if real.startswith("/") and _local(spec, kind) and where.rstrip("/") not in _places(report):
            found.append(f"{real} is not mounted")
    swaps = sum(kind == "swap" for _, _, kind in (row[:3] for row in wanted))
    if len(report.swaps) < swaps:
        found.append(f"{len(report.swaps)} of {swaps} swaps are in use")
    if network and not report.up:
        found.append("no network card is up")
    elif network and report.addresses == 0:
        found.append("no network card has an address")
    if report.own is not None:
        found += [f"no network card has the address {each}" for each in addresses if each not in report.own]
    return found


def _places(report: Report) -> set[str]:
    return {where.rstrip("/") for where in report.mounts}


def _local(spec: str, kind: str) -> bool:
    return kind not in ("swap", "iso9660", "udf", "udf,iso9660") and unwrapped(spec)[1].startswith(
        ("/dev/", "UUID=", "LABEL=", "PART")
    )


def anew(before: list[str], after: list[str]) -> list[str]:
    """What only the second boot complains of; fewer swaps than before, not more, are a complaint."""
    least = min((int(found.group(1)) for each in before if (found := SWAPS.fullmatch(each))), default=None)
    return [each for each in after if each not in before and not _as_many(each, least)]


def _as_many(complaint: str, least: int | None) -> bool:
    found = SWAPS.fullmatch(complaint)
    return found is not None and least is not None and int(found.group(1)) >= least
