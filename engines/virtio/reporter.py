"""A small program in the throwaway layer that says on the serial line what the booted guest has: mounts, swap, cards.

It is started last, by whatever init the guest has. What is committed never holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from engines.guest.appliance import GuestError
from engines.guest.system import System

PROGRAM = "/crashcart-report"
MARK = "crashcart-report:"
END = re.compile(rf"{MARK} end")
BEGUN = re.compile(rf"{MARK} begin")
SCRIPT = r"""#!/bin/sh
# Waits until no job of systemd is left (a device that never comes is given up after 90 s), and a minute for an
# address, and for those that its configuration gives it, where a card is up, then tells.
PATH=/sbin:/usr/sbin:/bin:/usr/bin; export PATH
WANTED=
exec >/dev/ttyS0 2>/dev/null </dev/null
say() { echo "crashcart-report: $*"; }
echo; say begin
if [ -d /run/systemd/system ]; then
	n=0
	while [ $n -lt 70 ] && systemctl list-jobs --no-legend | grep -v crashcart | grep -q .; do
		sleep 2; n=$((n + 1))
	done
	systemctl list-units --failed --no-legend --plain | while read unit rest; do say failed "$unit"; done
fi
while read source where kind rest; do
	case "$source" in /*) say mount "$where" "$source" "$kind";; esac
done </proc/mounts
while read source rest; do
	case "$source" in /*) say swap "$source";; esac
done </proc/swaps
addresses() {
	{ ip -o addr show 2>/dev/null || ifconfig -a; } | grep 'inet' |
		grep -v -e '127\.0\.0\.' -e ' ::1' -e 'fe80:' -e ': docker' -e ': virbr' -e ': veth' | grep -c .
}
own() {
	{ ip -o addr show 2>/dev/null || ifconfig -a; } |
		sed -n -e 's/.*inet addr:\([0-9.]*\).*/\1/p' -e 's/.*inet \([0-9][0-9.]*\).*/\1/p'
}
all_there() {
	[ "$(addresses)" != 0 ] || return 1
	for each in $WANTED; do own | grep -q -x -F "$each" || return 1; done
}
awaited=
for card in /sys/class/net/*; do
	[ -e $card/device ] || continue
	driver=$(readlink $card/device/driver)
	up=down; [ $(($(cat $card/flags) & 1)) = 1 ] && up=up awaited=30
	say card "${card##*/}" "${driver##*/}" $up "$(cat $card/address)"
done
while [ ${awaited:-0} -gt 0 ] && ! all_there; do
	sleep 2; awaited=$((awaited - 1))
done
for each in $(own); do say address "$each"; done
say addresses "$(addresses)"
say end
"""
UNIT = f"""[Unit]
Description=crashcart's report of a trial boot
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh {PROGRAM}
[Install]
WantedBy=multi-user.target
"""
UPSTART = f"start on stopped rc RUNLEVEL=[2345]\ntask\nexec /bin/sh {PROGRAM}\n"
EVENT = f"start on stopped rc2\nstart on stopped rc3\nstart on stopped rc5\nexec /bin/sh {PROGRAM}\n"
SYSTEMD = "/etc/systemd/system"


@dataclass(frozen=True)
class Report:
    """What a booted guest has. mounts: device by mount point. cards: (name, driver, whether it is up).

    addresses: how many that lead out of it, own: which of IPv4, None where it does not say.
    """

    mounts: dict[str, str] = field(default_factory=dict)
    swaps: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    cards: tuple[tuple[str, str, bool], ...] = ()
    addresses: int | None = None
    own: tuple[str, ...] | None = None

    @property
    def up(self) -> int:
        """How many network cards are up."""
        return sum(up for _, _, up in self.cards)


def install(system: System, wanted: tuple[str, ...] = ()) -> bool:
    """Put it into a guest that is mounted for writing; False where nothing would start it.

    wanted: the addresses that it waits for.
    """
    try:
        ways = list(_ways(system))
        if not ways:
            return False
        system.call("write", PROGRAM, SCRIPT.replace("WANTED=\n", f'WANTED="{" ".join(wanted)}"\n', 1).encode())
        system.call("chmod", 0o755, PROGRAM)
        for path, content in ways:
            system.call("write", path, content)
        if system.call("is_dir", SYSTEMD):
            system.call("mkdir_p", f"{SYSTEMD}/multi-user.target.wants")
            link = f"{SYSTEMD}/multi-user.target.wants/crashcart-report.service"
            system.call("ln_sf", f"{SYSTEMD}/crashcart-report.service", link)
    except GuestError:
        return False
    return True


def _ways(system: System) -> Iterator[tuple[str, bytes]]:
    """Files that have each of the inits start it; one that does not run here reads none of them."""
    if system.call("is_dir", SYSTEMD):
        yield f"{SYSTEMD}/crashcart-report.service", UNIT.encode()
    table = system.read("/etc/inittab")
    if table is not None:
        # busybox's init has no runlevels: its lines begin with the terminal, which may be left out
        line = "::once:" if re.search(rb"^::", table, re.MULTILINE) else "cc:2345:once:"
        yield system.real("/etc/inittab"), table.rstrip(b"\n") + f"\n{line}/bin/sh {PROGRAM}\n".encode()
    if "/etc/init/rc.conf" in system.etc:
        yield "/etc/init/crashcart-report.conf", UPSTART.encode()
    if any(path.startswith("/etc/event.d/") for path in system.etc):
        yield "/etc/event.d/crashcart-report", EVENT.encode()


def read(text: str) -> Report | None:
    """What a console says; None where the report did not come to its end."""
    if not END.search(text):
        return None
    rows = [line.partition(MARK)[2].split() for line in text.splitlines() if MARK in line]
    counts = [int(row[1]) for row in rows if row[:1] == ["addresses"] and row[1:] and row[1].isdecimal()]
    return Report(
        addresses=counts[-1] if counts else None,
        own=tuple(row[1] for row in rows if row[:1] == ["address"] and row[1:]) if counts else None,
        mounts={row[1]: row[2] for row in rows if row[:1] == ["mount"] and len(row) > 2},
        swaps=tuple(row[1] for row in rows if row[:1] == ["swap"] and len(row) > 1),
        failed=tuple(sorted({row[1] for row in rows if row[:1] == ["failed"] and len(row) > 1})),
        cards=tuple((row[1], row[2], row[3] == "up") for row in rows if row[:1] == ["card"] and len(row) > 3),
    )
