"""The tasks that the suite offers, in the order of the home screen."""

from __future__ import annotations

from wizards.backup import RESTORE, RUN
from wizards.biosiso import BUILD, INSERT
from wizards.boot import BOOT
from wizards.buckets import BUCKETS
from wizards.copying import COPIES
from wizards.failover import LAB, WATCH
from wizards.files import GET, PUT
from wizards.fleet import RUN as ROUND
from wizards.keys import KEYS
from wizards.points import POINTS
from wizards.prune import PRUNE
from wizards.repository import INIT, VERIFY
from wizards.restock import RESTOCK
from wizards.vdx import FIX
from wizards.virtio import CONVERT

BACKUPS = (RUN, RESTORE, BOOT, VERIFY, PRUNE, INIT, *COPIES, *BUCKETS, *POINTS, *KEYS, GET, PUT)
WIZARDS = (BUILD, INSERT, CONVERT, RESTOCK, FIX, LAB, WATCH, *BACKUPS, ROUND)
