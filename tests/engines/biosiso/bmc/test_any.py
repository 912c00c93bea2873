"""A disc is served at one address, however every one of them is written."""

from __future__ import annotations

import pytest

from engines.biosiso.bmc.serve import _any


@pytest.mark.parametrize(
    "address", ["0", "0.0.0.0", "0x0", "00", "0.0", "::", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"]
)
def test_every_way_to_write_all_addresses_is_known(address: str) -> None:
    assert _any(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "fe80::1%eth0", "host.example"])
def test_one_address_is_one(address: str) -> None:
    assert not _any(address)
