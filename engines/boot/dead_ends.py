"""What a console says of a guest that will not come up: firmware, loaders, kernels, initrds and inits of all ages."""

from __future__ import annotations

import re

# Nothing here looks from each place of a line to its end: a guest may say the same word without one.
FIRMWARE = (
    r"No bootable device.*",
    r"BdsDxe: No bootable option or device was found",
)
LOADERS = (
    r"grub rescue>",
    r"^grub> *$",
    r"^Error \d\d(?:: .*| *$)",
    r"GRUB (?:Hard Disk|Geom|Read) Error.*",
    r"^error: you need to load the kernel.*",
    r"^L[I ](?: ?[0-9A-F]{2}){4}.*",  # LILO: a code a second
    r"^No DEFAULT or UI configuration directive found.*",
    r"^Failed to load (?:ldlinux|COM32 file).*",
    r"^Boot error *$",
    r"(?:BOOTMGR|NTLDR) is missing.*",
    r"Missing operating system.*",
    r"Operating system not found.*",
    r"INACCESSIBLE_BOOT_DEVICE.*",
)
KERNELS = (
    r"Kernel panic.*",
    r"VFS: (?:Cannot open root device|Unable to mount root fs).*",
    r"Unable to mount root fs.*",
    r"No (?:working )?init found.*",
)
INITRDS = (
    r"could not find filesystem.*",
    r"dracut:/#",
    r"dracut.{0,200}(?:Could not boot|Boot has failed).*",
    r"Dropping to debug shell.*",
    r"Generating \"/run/initramfs/rdsosreport.*",
    r"\(initramfs\)",
    r"ALERT!.{0,200}does not exist.*",
    r"Gave up waiting for root.*",
    r"Target filesystem doesn't have requested.*",
    r"dropped (?:in)?to an? (?:recovery|debug) shell.*",
    r"dropped into an emergency shell.*",
    r"ERROR: Failed to mount .{0,200}on real root.*",
    r"^.*is not a valid root device.*",
    r"-- exiting to /bin/sh",
    r"Want me to fall back to.*",
    r"[Cc]ould not find the root (?:block device )?in.*",
    r"initramfs emergency recovery shell.*",
    r"Mounting root(?: on \S+)?:? failed.*",
    r"No /\S{0,200}init found on rootdev.*",
    r"Failed to (?:start Switch Root|switch root).*",
)
INITS = (
    r"[Gg]ive root password (?:for (?:system )?(?:maintenance|login)|to login).*",
    r"Press Enter for (?:system )?maintenance.*",
    r"^ {0,8}(?:[Pp]ress|[Tt]ype|TYPE) [Cc](?:ontrol|ONTROL|trl)-[Dd] to (?:continue boot|proceed with normal).*",
    r"\(or (?:press|type) [Cc](?:ontrol|ONTROL|trl)-[Dd] (?:to continue|for normal).*",
    r"CONTROL-D will terminate this shell.*",
    r"root account is locked.*",
    r"(?:[Ee]ntering|You are in|Welcome to) (?:emergency|rescue) mode.*",
    r"Reached target .{0,200}(?:(?:Emergency|Rescue) Mode|(?:emergency|rescue)\.target).*",
    r"Started .{0,200}(?:Emergency Shell|emergency\.service).*",
    r"An error occurred during the (?:root )?file ?system check.*",
    r"A maintenance shell will now be started.*",
    # In the guest's language: more than one word, or none of ASCII's, as "(web1) 12 # " is a prompt of its own.
    r"^\((?=[^()\n]{0,40}[^\x00-\x1f!-\x7f])[^()\n]{4,40}\) \d{1,3} # *$|^\(Repair filesystem\).*",
    # util-linux's words for its password in some
    r"[Rr]oot-Passwort.{0,20}Wartung.*|mot de passe (?:du superutilisateur|(?:de )?root).{0,9}pour la maintenance.*",
    r"contrase.{1,2}a de(?:l)? (?:root|superusuario) para.{0,9}mantenimiento.*|rootwachtwoord.{0,20}onderhoud.*",
    r"(?:password|senha) d\w{1,3} (?:root|superutente) p.{0,9}manuten(?:zione|.{1,4}o\b).*",
    r"[Пп]арол.{1,9}root.{0,9}обслуживани.*",
    r"^\((?:oder|ou|o|of|или|lub|eller) .{0,60}(?:Control|Contr.{1,2}le|Strg|Ctrl|CTRL)[-+]D.*",
    r"rc: Aborting!",
    r"INIT: no more processes left in this runlevel.*",
    r"[Ff]reezing execution.*",
    r"^\[!!!!!!\].*",
)
DOWN = re.compile("|".join((*FIRMWARE, *LOADERS, *KERNELS, *INITRDS, *INITS)), re.MULTILINE)
