"""The public test suite of RFC 7208, which the source distribution of pyspf carries and its wheel does not.

It is run by hand, where the file is at hand: the corpus stands for it everywhere else.

    SPF_TEST_SUITE=test/rfc7208-tests.yml python -m pytest tests/dns/public_spf_suite.py
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import yaml

from maildns.policy.spf import StaticLookup, check_host


def test_the_public_test_suite_of_rfc_7208_passes():
    failures, count = [], 0
    for scenario in filter(None, yaml.safe_load_all(Path(os.environ["SPF_TEST_SUITE"]).read_text())):
        lookup = _suite_lookup(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            count += 1
            sender = test["mailfrom"] or ""
            domain = sender.rpartition("@")[2] or test["helo"]
            found = check_host(ip_address(test["host"]), domain, sender, test["helo"], lookup)
            wanted = test["result"] if isinstance(test["result"], list) else [test["result"]]
            said = found.explanation or "DEFAULT"
            if found.result not in wanted or said != test.get("explanation", said):
                failures.append((name, wanted, found))
    assert failures == []
    assert count > 200


def _suite_lookup(zonedata: dict[str, list[object]]) -> StaticLookup:
    """The suite's own way to write zones: SPF stands for TXT where a name has no TXT of its own."""
    table: dict[tuple[str, str], list[str]] = {}
    failing: set[tuple[str, str]] = set()
    for name, given_records in zonedata.items():
        pairs = [pair for r in given_records if isinstance(r, dict) for pair in r.items()]
        has_txt = any(type_ == "TXT" for type_, _ in pairs)
        for type_, value in pairs:
            kind = "TXT" if type_ == "SPF" and not has_txt else type_
            if value != "NONE":
                table.setdefault((name.lower(), kind), []).append(_suite_value(kind, value))
        if "TIMEOUT" in given_records:
            every = ("TXT", "A", "AAAA", "MX", "PTR")
            failing |= {(name, type_) for type_ in every if (name.lower(), type_) not in table}
    return StaticLookup(table, failing)


def _suite_value(type_: str, value: object) -> str:
    if isinstance(value, list):
        joined = "".join(value) if type_ == "TXT" else f"{value[0]} {value[1].removesuffix('.')}."
        return joined.encode("latin-1").decode("utf-8", "surrogateescape")
    text = str(value)
    return (
        text.removesuffix(".") + "."
        if type_ == "PTR"
        else text.encode("latin-1").decode("utf-8", "surrogateescape")
    )
