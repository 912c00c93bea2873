"""A probe of a street with one faulty copy, in this process's network namespace: `inside RULE` prints JSON."""

from __future__ import annotations

import json
import sys

from engines.failover.asking import probe
from engines.failover.asking.site import SiteParams
from engines.failover.lab import namespaces, testbed
from engines.job.params import convert


def main() -> int:
    control, _ = testbed.build(testbed.Site("shop.test", "AB"), namespaces.new_network)
    control.order(do="fault", rule=sys.argv[1], mode="well", letters="A")
    given = {"name": "shop.test", "resolver": [testbed.ROUTER], "scheme": "http", "timeout": 2}
    found = probe.answer(convert(SiteParams, given))
    said = {"states": {one.address: one.state for one in found.lights}, "survives": found.survives}
    sys.stdout.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
