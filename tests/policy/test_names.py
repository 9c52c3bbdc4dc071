"""For whom a certificate is."""

from __future__ import annotations

import pytest

from mailstrom_cli.policy.names import covered

COVERED = [
    ("mx.example.net", "mx.example.net"),
    ("mx.example.net", "MX.Example.NET."),
    ("MX.example.net", "mx.example.net"),
    ("mx.example.net", "*.example.net"),
    ("*.example.net", "mx.example.net"),
    ("*.example.net", "a.mx.example.net"),
    ("*.example.net", "*.example.net"),
    ("*.example.net", "*.mx.example.net"),
]
NOT = [
    ("mx.example.net", "example.net"),
    ("mx.example.net", "*.mx.example.net"),
    ("a.mx.example.net", "*.example.net"),
    ("example.net", "*.net"),
    ("example.net", "*.example.net"),
    ("mx.example.net", "m*.example.net"),
    ("mx.example.net", "*x.example.net"),
    ("mx.example.net", "*"),
    ("mx.example.net", "*.*.net"),
    ("mx.example.net", "mx.*.net"),
    ("mx.example.net", ""),
    (".example.net", "*.example.net"),
    ("mx.example.net", "mx.example.net\0.evil.example"),
    ("*.example.net", "example.net"),
    ("*.example.net", "xexample.net"),
    ("*.example.net", "mx.xexample.net"),
    ("*.example.net", "*.xexample.net"),
    ("*.example.net", "*.net"),
    ("*.example.net", "mx.example.net.evil.example"),
    ("192.0.2.1", "192.0.2.1"),  # an address among the names is none
]


@pytest.mark.parametrize(("wanted", "name"), COVERED)
def test_a_name_that_covers(wanted: str, name: str) -> None:
    assert covered(["other.example", wanted], ["another.example", name], [])


@pytest.mark.parametrize(("wanted", "name"), NOT)
def test_a_name_that_does_not(wanted: str, name: str) -> None:
    assert not covered([wanted], [name], [])


def test_addresses_are_compared_as_addresses() -> None:
    assert covered(["192.0.2.1"], [], ["192.0.2.1"])
    assert covered(["2001:db8::1"], [], ["2001:DB8:0:0:0:0:0:1"])
    assert covered(["::1"], [], ["no address", "0:0:0:0:0:0:0:1\n"])
    assert not covered(["192.0.2.1"], ["*.2.1"], ["192.0.2.2", "no address"])
    assert not covered(["mx.example.net"], [], ["mx.example.net"])


def test_for_nobody_is_for_nobody() -> None:
    assert not covered([], ["mx.example.net"], ["192.0.2.1"])
    assert not covered(["mx.example.net"], [], [])
