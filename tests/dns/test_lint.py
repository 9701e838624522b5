"""Each lint: a sound domain, one thing broken in it, and exactly that lint turns on, alone."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maildns.judging.lint import RULES, Context, Severity, lint
from maildns.policy.dkim import DkimKey
from maildns.policy.spf import LookupFailedError, StaticLookup
from maildns.records import RRset, rrset
from tests.dns.spf_corpus import records, terms


def key(bits: int) -> str:
    public = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return DkimKey("rsa", base64.b64encode(der).decode()).text


SOUND_KEY, SHORT_KEY = key(2048), key(1024)
ORG, DMARC, SELECTOR = "example.org.", "_dmarc.example.org.", "s1._domainkey.example.org."
Table = Mapping[tuple[str, str], tuple[str, ...]]

SOUND: Table = {
    (ORG, "MX"): ("10 mail.example.org.",),
    (ORG, "TXT"): ("v=spf1 ip4:192.0.2.10 include:spf.example.net -all", "site-verification=1"),
    (ORG, "CAA"): ('0 issue "letsencrypt.org"',),
    ("mail.example.org.", "A"): ("192.0.2.10",),
    ("mail.example.org.", "TXT"): ("v=spf1 a -all",),
    (DMARC, "TXT"): ("v=DMARC1; p=reject; rua=mailto:dmarc@example.org",),
    ("example.com._report._dmarc.example.org.", "TXT"): ("v=DMARC1",),
    (SELECTOR, "TXT"): (SOUND_KEY,),
    ("old._domainkey.example.org.", "TXT"): ("v=DKIM1; k=rsa; p=",),
    ("_smtp._tls.example.org.", "TXT"): ("v=TLSRPTv1; rua=mailto:tls@example.org",),
    ("default._bimi.example.org.", "TXT"): ("v=BIMI1; l=https://example.org/logo.svg; a=",),
}
WORLD = {("spf.example.net", "TXT"): ["v=spf1 ip4:198.51.100.0/24 -all"]}
CONTEXT = Context(
    today=date(2026, 11, 30),
    since={ORG: date(2026, 3, 1)},
    senders={ORG: (ip_address("192.0.2.10"),)},
    enforcing=frozenset({ORG}),
    selectors=frozenset({SELECTOR, "old._domainkey.example.org."}),
    lookup=StaticLookup(WORLD),
    issued={"mail.example.org.": ("letsencrypt.org.", "dns-01")},
)


def zone(changed: Mapping[tuple[str, str], tuple[str, ...] | None], ttl: int = 3600) -> list[RRset]:
    table = {**SOUND, **changed}
    return [rrset(name, type_, ttl, values) for (name, type_), values in table.items() if values]


def found(changed: Mapping[tuple[str, str], tuple[str, ...] | None], context: Context = CONTEXT) -> list:
    return [(f.name, f.about) for f in lint(zone(changed), context)]


def spf(text: str) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(ORG, "TXT"): (text,)}


def dmarc(*texts: str) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(DMARC, "TXT"): texts}


SENDS = "ip4:192.0.2.10"
BROKEN: list[tuple[str, str, Mapping[tuple[str, str], tuple[str, ...] | None]]] = [
    ("spf-broken", "mail.example.org.", {("mail.example.org.", "TXT"): ("v=spf1 nonsense -all",)}),
    ("spf-several", "mail.example.org.", {("mail.example.org.", "TXT"): ("v=spf1 a -all", "v=spf1 -all")}),
    ("spf-all", ORG, spf(f"v=spf1 {SENDS} +all")),
    ("spf-all", ORG, spf(f"v=spf1 {SENDS} all")),
    ("spf-all", ORG, spf("v=spf1 ip4:0.0.0.0/0 -all")),
    ("spf-all", ORG, spf(f"v=spf1 {SENDS} a:mail.example.org/0 -all")),
    ("spf-all", ORG, spf(f"v=spf1 {SENDS} mx//0 -all")),
    ("spf-open", ORG, spf(f"v=spf1 {SENDS} ?all")),
    ("spf-open", ORG, spf(f"v=spf1 {SENDS}")),
    ("spf-ptr", ORG, spf(f"v=spf1 {SENDS} ptr -all")),
    ("spf-unreachable", ORG, spf(f"v=spf1 {SENDS} -all a")),
    ("spf-unreachable", ORG, spf(f"v=spf1 {SENDS} -all redirect=spf.example.net")),
    ("spf-lookups", ORG, spf(f"v=spf1 {SENDS} {terms('exists:x#.example.net', 11)} -all")),
    ("spf-include", ORG, spf(f"v=spf1 {SENDS} include:gone.example.net -all")),
    ("spf-size", ORG, spf(f"v=spf1 {SENDS} {terms('ip4:198.51.100.#', 30)} -all")),
    ("spf-size", ORG, {(ORG, "TXT"): (f"v=spf1 {SENDS} -all", *(f"{n}=" + "x" * 200 for n in range(6)))}),
    ("dmarc-broken", ORG, {**dmarc("v=DMARC1; p=bounce"), ("default._bimi.example.org.", "TXT"): None}),
    ("dmarc-several", ORG,
     {**dmarc("v=DMARC1; p=reject", "v=DMARC1; p=none"), ("default._bimi.example.org.", "TXT"): None}),
    ("dmarc-subdomains", ORG, dmarc("v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.org")),
    ("dmarc-reports", ORG, dmarc("v=DMARC1; p=reject")),
    ("dmarc-none", ORG,
     {**dmarc("v=DMARC1; p=none; rua=mailto:d@example.org"), ("default._bimi.example.org.", "TXT"): None}),
    ("alignment", ORG, {(SELECTOR, "TXT"): None, **spf("v=spf1 -all")}),
    ("alignment-one-way", ORG, {(SELECTOR, "TXT"): None}),
    ("alignment-one-way", ORG, spf("v=spf1 ip4:192.0.2.11 -all")),
    ("bimi-policy", ORG, {(DMARC, "TXT"): None}),
    ("dkim-broken", SELECTOR.replace("s1", "s2"), {("s2._domainkey.example.org.", "TXT"): ("v=DKIM1; p=?",)}),
    ("dkim-short", SELECTOR, {(SELECTOR, "TXT"): (SHORT_KEY,)}),
    ("dkim-idle", SELECTOR.replace("s1", "s2"), {("s2._domainkey.example.org.", "TXT"): (SOUND_KEY,)}),
    ("null-mx-sender", ORG, {(ORG, "MX"): ("0 .",)}),
    ("sts-reports", ORG, {("_smtp._tls.example.org.", "TXT"): None}),
    ("caa-issuer", ORG, {(ORG, "CAA"): ('0 issue ";"',)}),
    ("caa-issuer", ORG, {(ORG, "CAA"): ('0 issue "letsencrypt.org; validationmethods=http-01"',)}),
    ("caa-issuer", "mail.example.org.", {("mail.example.org.", "CAA"): ('0 issue "ca.example.net"',)}),
]  # fmt: skip


def test_a_sound_domain_has_nothing_to_be_said_about_it():
    assert found({}) == []


@pytest.mark.parametrize(
    ("name", "about", "changed"), BROKEN, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(BROKEN)]
)
def test_one_thing_broken_turns_on_exactly_its_lint(name, about, changed):
    assert found(changed) == [(name, about)]


@pytest.mark.parametrize(("ttl", "told"), [(299, True), (300, False), (86_400, False), (86_401, True)])
def test_a_ttl_out_of_range_is_told_once_for_all_sets_that_have_it(ttl, told):
    findings = lint(zone({}, ttl), CONTEXT)
    assert [(f.name, f.about) for f in findings] == ([("ttl", ORG)] if told else [])
    assert all(f"(and {len(SOUND) - 1} more sets)" in f.sentence for f in findings)


def test_every_lint_is_broken_by_a_case_and_has_a_name_of_its_own():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert {name for name, *_ in BROKEN} | {"ttl"} == set(names)


def test_every_lint_is_explained_in_the_manual():
    manual = Path(__file__).parents[2].joinpath("docs", "dns.md").read_text()
    table = manual.partition("## Lints")[2].partition("\n## ")[0]
    explained = {
        n
        for row in table.splitlines()
        if row.startswith("| `")
        for n in re.findall("`([a-z-]+)`", row.split("|")[1])
    }
    assert explained == {rule.name for rule in RULES}


def test_others_ttl_is_theirs_to_choose():
    context = replace(CONTEXT, ours=frozenset({(ORG, "MX")}))
    (finding,) = lint(zone({}, 60), context)
    assert "more sets" not in finding.sentence


NONE = {**dmarc("v=DMARC1; p=none; rua=mailto:d@example.org"), ("default._bimi.example.org.", "TXT"): None}


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ({ORG: date(2026, 9, 1)}, False),
        ({ORG: date(2026, 8, 31)}, True),
        ({ORG: None}, True),  # nobody would ever be reminded
        ({}, False),  # somebody else's domain
    ],
)
def test_none_may_watch_for_ninety_days(since, told):
    context = replace(CONTEXT, today=date(2026, 11, 30), since=since)
    assert (("dmarc-none", ORG) in found(NONE, context)) is told


def test_lookups_behind_includes_count_where_dns_may_be_asked():
    deep = f"v=spf1 {terms('a:x#.example.net', 10)} -all"
    online = replace(CONTEXT, lookup=StaticLookup({("spf.example.net", "TXT"): [deep]}))
    assert found({}, online) == [("spf-lookups", ORG)]
    (finding,) = lint(zone({}), online)
    assert finding.sentence.startswith("11 of 10 lookups (include:spf.example.net 11)")
    assert found({}, replace(CONTEXT, lookup=None)) == []


def test_ten_lookups_are_allowed():
    assert found(spf(f"v=spf1 {SENDS} {terms('exists:x#.example.net', 10)} -all")) == []


def test_what_dns_does_not_say_is_not_held_against_anybody():
    def silent(name: str, type_: str) -> tuple[str, ...]:
        raise LookupFailedError(f"{name} {type_}")

    lost = spf("v=spf1 include:spf.example.net -all")
    assert found(lost, replace(CONTEXT, lookup=silent)) == []


def test_spf_of_a_sender_may_pass_by_an_include():
    passing = StaticLookup(records("spf.example.net TXT v=spf1 ip4:192.0.2.0/24 -all"))
    assert found(spf("v=spf1 include:spf.example.net -all"), replace(CONTEXT, lookup=passing)) == []
    assert found(spf("v=spf1 include:spf.example.net -all")) == [("alignment-one-way", ORG)]


def test_a_subdomain_is_held_to_its_parents_policy():
    sub = "news.example.org."
    context = replace(CONTEXT, senders={sub: (ip_address("192.0.2.10"),)})
    assert found({(sub, "MX"): ("10 mail.example.org.",)}, context) == [("alignment", sub)]


def test_an_accepted_lint_is_silent_for_that_name_only():
    broken = {**spf(f"v=spf1 {SENDS} ?all"), ("mail.example.org.", "TXT"): ("v=spf1 ?all",)}
    findings = lint(zone(broken), CONTEXT, lambda name, about: (name, about) == ("spf-open", ORG))
    assert [(f.name, f.about) for f in findings] == [("spf-open", "mail.example.org.")]


def test_errors_come_before_warnings_and_every_sentence_is_one_line():
    broken = {**spf("v=spf1 +all ptr"), ("mail.example.org.", "TXT"): ("v=spf1 ?all", "v=spf1")}
    findings = lint(zone(broken), CONTEXT)
    severities = [f.severity for f in findings]
    assert severities == sorted(severities, key=[Severity.ERROR, Severity.WARNING].index)
    assert not any("\n" in f.sentence for f in findings)
