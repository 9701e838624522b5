"""Policies, clients and what receivers conclude: a corpus of our own for RFC 7208.

A case is a policy at example.org, asked about by a client at 192.0.2.10 that says
`MAIL FROM:<user@example.org>` unless it says otherwise. `section` is where RFC 7208 decides. Where pyspf
2.0.14 answers otherwise, `pyspf` holds its answer: no case is left out because of that. It differs in this:

- macros and modifiers are case-insensitive by the grammar (section 12), pyspf's `R` and `REDIRECT` are not;
- an open, zero or otherwise malformed macro is a syntax error (7.1, 7.3); pyspf passes some over;
- only `redirect` and `exp` must not be there twice (6); pyspf minds any modifier;
- a DNS error at a PTR makes `ptr` no match (5.5), in pyspf a temporary error;
- `redirect` costs a lookup when it is followed, in pyspf wherever it stands;
- the PTR query behind `%{p}` costs one of the ten lookups (4.6.4), in pyspf none;
- a match at the first MX host ends the matter (4.6.2), pyspf asks for the others' addresses before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from maildns.policy.spf import Evaluation, StaticLookup, check_host

CLIENT = "192.0.2.10"
CLIENT6 = "2001:db8::10"

COMMON = """
    mail.example.org A 192.0.2.10
    mail.example.org AAAA 2001:db8::10
    other.example.org A 198.51.100.7
    other.example.org AAAA 2001:db8:ffff::7
    example.org A 192.0.2.20
    example.org AAAA 2001:db8::20
    example.org MX 10 mail.example.org.
    example.org MX 20 other.example.org.
    10.2.0.192.in-addr.arpa PTR mail.example.org.
    yes.example.net TXT v=spf1 +all
    no.example.net TXT v=spf1 -all
    soft.example.net TXT v=spf1 ~all
    neutral.example.net TXT v=spf1 ?all
    empty.example.net TXT v=spf1
    client.example.net TXT v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 -all
    broken.example.net TXT v=spf1 nonsense
    slow.example.net FAIL TXT
    slow.example.net FAIL A
    slow.example.net FAIL AAAA
    slow.example.net FAIL MX
    notspf.example.net TXT something else
    alias.example.net CNAME mail.example.org
    """


@dataclass(frozen=True)
class Case:
    """One question and its answer."""

    name: str
    zone: str
    result: str
    section: str
    ip: str = CLIENT
    sender: str = "user@example.org"
    helo: str = "mail.example.org"
    explanation: str | None = None
    pyspf: str | None = None
    """pyspf's result, where it is another."""
    pyspf_lookups: int | None = None
    """pyspf's count of lookups, where it is another though the result is the same."""

    @property
    def domain(self) -> str:
        return self.sender.rpartition("@")[2] if self.sender else self.helo

    @property
    def records(self) -> Mapping[tuple[str, str], list[str]]:
        return records(COMMON + self.zone)

    @property
    def failing(self) -> frozenset[tuple[str, str]]:
        return frozenset((n.lower(), v) for n, t, v in lines(COMMON + self.zone) if t == "FAIL")


def ours(case: Case) -> Evaluation:
    """The case by our evaluator."""
    lookup = StaticLookup(case.records, case.failing)
    return check_host(
        ip_address(case.ip), case.domain, case.sender, case.helo, lookup, clock=lambda: 1_000_000_000
    )


def lines(zone: str) -> Iterable[tuple[str, str, str]]:
    for line in filter(str.strip, zone.split("\n")):
        name, type_, *value = line.lstrip().split(" ", 2)
        yield name, type_, value[0] if value else ""


def records(zone: str) -> dict[tuple[str, str], list[str]]:
    table: dict[tuple[str, str], list[str]] = {}
    for name, type_, value in lines(zone):
        if type_ != "FAIL":
            table.setdefault((name.lower(), type_), []).append(value)
    return table


def at_org(policy: str, more: str = "") -> str:
    return f"\nexample.org TXT {policy}\n{more}"


CASES: list[Case] = []


def add(section: str, *entries: tuple[str, str, str] | tuple[str, str, str, dict[str, object]]) -> None:
    """Cases of one section: (name, policy at example.org, result[, what else])."""
    for name, policy, result, *rest in entries:
        options = dict(rest[0]) if rest else {}
        zone = at_org(policy, options.pop("more", ""))
        CASES.append(Case(name, zone, result, options.pop("section", section), **options))


def many(template: str, count: int) -> str:
    """A zone text, `#` replaced by 1 to count."""
    return "\n".join(template.replace("#", str(n)) for n in range(1, count + 1))


def terms(template: str, count: int) -> str:
    return many(template, count).replace("\n", " ")


V6 = {"ip": CLIENT6}

add(
    "4.5",
    ("record-alone", "v=spf1", "neutral"),
    ("record-with-trailing-blanks", "v=spf1 -all   ", "fail"),
    ("record-with-several-blanks", "v=spf1   ip4:192.0.2.10    -all", "pass"),
    ("record-in-capitals", "V=SPF1 -ALL", "fail"),
    ("record-without-blank-after-version", "v=spf1-all", "none"),
    ("record-of-another-version", "v=spf10 -all", "none"),
    ("record-of-version-2", "v=spf2.0/pra -all", "none"),
    ("record-with-semicolon", "v=spf1; -all", "none"),
    ("record-with-leading-blank", " v=spf1 -all", "none"),
    ("record-in-quotes", '"v=spf1 -all"', "none"),
    ("two-records", "v=spf1 -all", "permerror", {"more": "example.org TXT v=spf1 +all"}),
    ("two-records-equal-but-for-case", "v=spf1 +all", "permerror", {"more": "example.org TXT V=SPF1 +all"}),
    ("one-record-and-an-old-version", "v=spf1 -all", "fail", {"more": "example.org TXT v=spf10 +all"}),
    ("another-text-beside", "v=spf1 -all", "fail", {"more": "example.org TXT site-verification=abc"}),
    ("non-ascii-text-beside", "v=spf1 -all", "fail", {"more": "example.org TXT gr\u00fc\u00dfe"}),
    (
        "three-records",
        "v=spf1",
        "permerror",
        {"more": "example.org TXT v=spf1\u0020\nexample.org TXT v=spf1 a"},
    ),
)
add(
    "4.3",
    ("domain-without-record", "v=spf1 -all", "none", {"sender": "user@nothing.example.org"}),
    ("domain-with-other-texts", "v=spf1 -all", "none", {"sender": "user@notspf.example.net"}),
    ("domain-of-one-label", "v=spf1 -all", "none", {"sender": "user@localhost"}),
    ("domain-with-empty-label", "v=spf1 -all", "none", {"sender": "user@a..example.org"}),
    ("domain-with-long-label", "v=spf1 -all", "none", {"sender": f"user@{'a' * 64}.example.org"}),
    (
        "domain-with-longest-label",
        "v=spf1 -all",
        "fail",
        {"sender": f"user@{'a' * 63}.example.org", "more": f"{'a' * 63}.example.org TXT v=spf1 -all"},
    ),
    ("domain-in-capitals", "v=spf1 -all", "fail", {"sender": "user@EXAMPLE.ORG"}),
    ("domain-literal", "v=spf1 -all", "none", {"sender": "user@[192.0.2.10]"}),
    ("null-sender-judges-helo", "v=spf1 -all", "pass", {"sender": "", "helo": "client.example.net"}),
    ("null-sender-with-helo-of-one-label", "v=spf1 -all", "none", {"sender": "", "helo": "OEMCOMPUTER"}),
    ("null-sender-with-address-literal", "v=spf1 -all", "none", {"sender": "", "helo": "[192.0.2.10]"}),
    (
        "null-sender-is-postmaster",
        "v=spf1 exists:%{l}.lp.example.org -all",
        "pass",
        {
            "sender": "",
            "helo": "example.org",
            "more": "postmaster.lp.example.org A 127.0.0.2",
            "section": "2.4",
        },
    ),
    (
        "sender-without-local-part",
        "v=spf1 exists:%{l}.lp.example.org -all",
        "pass",
        {"sender": "@example.org", "more": "postmaster.lp.example.org A 127.0.0.2"},
    ),
)
add(
    "4.4",
    ("timeout-of-the-record", "v=spf1 -all", "temperror", {"sender": "user@slow.example.net"}),
    (
        "record-behind-an-alias",
        "v=spf1 -all",
        "pass",
        {"sender": "user@www.example.org", "more": "www.example.org CNAME client.example.net"},
    ),
)
add(
    "3.1",
    ("non-ascii-in-the-record", "v=spf1 ip4:192.0.2.10 x=\u00e4 -all", "permerror"),
    ("octet-that-is-no-utf8", "v=spf1 \udc80a -all", "permerror"),
    ("tab-between-terms", "v=spf1\tip4:192.0.2.10 -all", "none"),
    ("tab-after-the-first-term", "v=spf1 ip4:192.0.2.10\t-all", "permerror"),
    ("carriage-return-at-the-end", "v=spf1 -all\r", "permerror"),
)
add(
    "4.6",
    ("error-after-a-match", "v=spf1 ip4:192.0.2.10 -all nonsense", "permerror"),
    ("error-before-a-match", "v=spf1 nonsense ip4:192.0.2.10 -all", "permerror"),
    ("error-in-the-last-address", "v=spf1 +all ip4:192.0.2.256", "permerror"),
    ("empty-qualifier-mechanism", "v=spf1 + -all", "permerror"),
    ("two-qualifiers", "v=spf1 --all", "permerror"),
    ("unknown-qualifier", "v=spf1 !all", "permerror"),
    ("comma-between-terms", "v=spf1 ip4:192.0.2.10, -all", "permerror"),
    ("mechanism-that-begins-with-a-digit", "v=spf1 4ip:192.0.2.10 -all", "permerror"),
    ("mechanism-of-another-name", "v=spf1 ipv4:192.0.2.10 -all", "permerror"),
    ("bare-address", "v=spf1 192.0.2.10 -all", "permerror"),
    ("bare-name", "v=spf1 mail.example.org -all", "permerror"),
    ("equals-without-a-name", "v=spf1 =x -all", "permerror"),
    ("colon-without-a-name", "v=spf1 :x -all", "permerror"),
)
add(
    "4.7",
    ("nothing-matches", "v=spf1 ip4:198.51.100.0/24", "neutral"),
    ("qualifier-plus", "v=spf1 +ip4:192.0.2.10", "pass"),
    ("qualifier-minus", "v=spf1 -ip4:192.0.2.10", "fail", {"section": "4.6.2"}),
    ("qualifier-tilde", "v=spf1 ~ip4:192.0.2.10", "softfail", {"section": "4.6.2"}),
    ("qualifier-question", "v=spf1 ?ip4:192.0.2.10", "neutral", {"section": "4.6.2"}),
    ("first-match-wins", "v=spf1 ~ip4:192.0.2.10 +all", "softfail", {"section": "4.6.2"}),
)
add(
    "5.1",
    ("all", "v=spf1 all", "pass"),
    ("all-minus", "v=spf1 -all", "fail"),
    ("all-tilde", "v=spf1 ~all", "softfail"),
    ("all-question", "v=spf1 ?all", "neutral"),
    ("all-in-mixed-case", "v=spf1 -aLl", "fail"),
    ("all-with-colon", "v=spf1 -all:", "permerror"),
    ("all-with-name", "v=spf1 -all:example.org", "permerror"),
    ("all-with-prefix", "v=spf1 -all/8", "permerror"),
    ("all-with-dot", "v=spf1 -all.", "permerror"),
    ("after-all-nothing-is-tested", "v=spf1 -all +ip4:192.0.2.10", "fail"),
    ("after-all-nothing-is-asked", "v=spf1 -all a:slow.example.net", "fail"),
    ("redirect-beside-all", "v=spf1 redirect=yes.example.net -all", "fail", {"pyspf_lookups": 1}),
)
add(
    "5.2",
    ("include-that-passes", "v=spf1 include:yes.example.net -all", "pass"),
    ("include-that-fails", "v=spf1 include:no.example.net ~all", "softfail"),
    ("include-that-softfails", "v=spf1 include:soft.example.net -all", "fail"),
    ("include-that-is-neutral", "v=spf1 include:neutral.example.net -all", "fail"),
    ("include-that-ends-without-all", "v=spf1 include:empty.example.net -all", "fail"),
    ("include-with-minus", "v=spf1 -include:yes.example.net +all", "fail"),
    ("include-with-tilde", "v=spf1 ~include:yes.example.net -all", "softfail"),
    ("include-without-record", "v=spf1 include:nothing.example.net -all", "permerror"),
    ("include-of-other-texts", "v=spf1 include:notspf.example.net -all", "permerror"),
    ("include-of-a-broken-record", "v=spf1 include:broken.example.net -all", "permerror"),
    ("include-that-times-out", "v=spf1 include:slow.example.net -all", "temperror"),
    ("include-not-reached", "v=spf1 ip4:192.0.2.10 include:slow.example.net -all", "pass"),
    ("include-without-a-name", "v=spf1 include -all", "permerror"),
    ("include-with-an-empty-name", "v=spf1 include: -all", "permerror"),
    ("include-with-prefix", "v=spf1 include:yes.example.net/24 -all", "permerror"),
    ("include-of-one-label", "v=spf1 include:localhost -all", "permerror"),
    ("include-in-capitals", "v=spf1 INCLUDE:YES.EXAMPLE.NET -all", "pass"),
    ("include-with-final-dot", "v=spf1 include:yes.example.net. -all", "pass"),
    (
        "include-of-an-include",
        "v=spf1 include:one.example.net -all",
        "pass",
        {"more": "one.example.net TXT v=spf1 include:client.example.net -all"},
    ),
    (
        "include-of-a-redirect",
        "v=spf1 include:one.example.net -all",
        "pass",
        {"more": "one.example.net TXT v=spf1 redirect=client.example.net"},
    ),
    (
        "include-of-a-redirect-into-nothing",
        "v=spf1 include:one.example.net -all",
        "permerror",
        {"more": "one.example.net TXT v=spf1 redirect=nothing.example.net"},
    ),
    ("include-of-itself", "v=spf1 include:example.org -all", "permerror", {"section": "4.6.4"}),
    (
        "includes-in-a-circle",
        "v=spf1 include:one.example.net -all",
        "permerror",
        {"more": "one.example.net TXT v=spf1 include:example.org -all", "section": "4.6.4"},
    ),
    (
        "include-with-two-records",
        "v=spf1 include:one.example.net -all",
        "permerror",
        {"more": "one.example.net TXT v=spf1 +all\none.example.net TXT v=spf1 -all"},
    ),
    ("include-by-macro", "v=spf1 include:%{l}.example.net -all", "pass", {"sender": "yes@example.org"}),
    (
        "include-behind-an-alias",
        "v=spf1 include:www.example.net -all",
        "pass",
        {"more": "www.example.net CNAME yes.example.net"},
    ),
    (
        "macro-d-in-an-include-is-its-own",
        "v=spf1 include:one.example.net -all",
        "pass",
        {
            "more": "one.example.net TXT v=spf1 exists:%{d}.list.example.net -all\n"
            "one.example.net.list.example.net A 127.0.0.2"
        },
    ),
    (
        "macro-o-in-an-include-is-the-senders",
        "v=spf1 include:one.example.net -all",
        "pass",
        {
            "more": "one.example.net TXT v=spf1 exists:%{o}.list.example.net -all\n"
            "example.org.list.example.net A 127.0.0.2"
        },
    ),
    (
        "a-in-an-include-is-its-own",
        "v=spf1 include:one.example.net -all",
        "pass",
        {"more": "one.example.net TXT v=spf1 a -all\none.example.net A 192.0.2.10"},
    ),
)
add(
    "5.3",
    ("a-of-the-domain", "v=spf1 a -all", "pass", {"ip": "192.0.2.20"}),
    ("a-of-the-domain-that-is-not", "v=spf1 a -all", "fail"),
    ("a-of-another", "v=spf1 a:mail.example.org -all", "pass"),
    ("a-of-another-that-is-not", "v=spf1 a:other.example.org -all", "fail"),
    ("a-over-ipv6", "v=spf1 a:mail.example.org -all", "pass", V6),
    ("a-over-ipv6-that-is-not", "v=spf1 a:other.example.org -all", "fail", V6),
    (
        "a-over-ipv6-without-aaaa",
        "v=spf1 a:v4.example.org -all",
        "fail",
        V6 | {"more": "v4.example.org A 192.0.2.10"},
    ),
    (
        "a-over-mapped-ipv6",
        "v=spf1 a:mail.example.org -all",
        "pass",
        {"ip": "::ffff:192.0.2.10", "section": "5"},
    ),
    ("a-with-prefix", "v=spf1 a/24 -all", "pass"),
    ("a-with-prefix-that-is-too-long", "v=spf1 a/29 -all", "fail"),
    ("a-with-prefix-zero", "v=spf1 a:other.example.org/0 -all", "pass"),
    ("a-with-ipv6-prefix", "v=spf1 a//64 -all", "pass", V6),
    ("a-with-ipv6-prefix-seen-over-ipv4", "v=spf1 a//64 -all", "fail"),
    ("a-with-both-prefixes", "v=spf1 a/24//64 -all", "pass"),
    ("a-with-both-prefixes-over-ipv6", "v=spf1 a/24//64 -all", "pass", V6),
    ("a-with-name-and-both-prefixes", "v=spf1 a:example.org/24//64 -all", "pass"),
    ("a-with-ipv6-prefix-zero", "v=spf1 a:other.example.org//0 -all", "pass", V6),
    ("a-with-prefix-32", "v=spf1 a:mail.example.org/32 -all", "pass"),
    ("a-with-prefix-33", "v=spf1 a:mail.example.org/33 -all", "permerror"),
    ("a-with-ipv6-prefix-128", "v=spf1 a:mail.example.org//128 -all", "pass", V6),
    ("a-with-ipv6-prefix-129", "v=spf1 a:mail.example.org//129 -all", "permerror"),
    ("a-with-leading-zero-in-prefix", "v=spf1 a:mail.example.org/032 -all", "permerror"),
    ("a-with-leading-zero-in-ipv6-prefix", "v=spf1 a:mail.example.org//064 -all", "permerror"),
    ("a-with-empty-prefix", "v=spf1 a:mail.example.org/ -all", "permerror"),
    ("a-with-empty-ipv6-prefix", "v=spf1 a:mail.example.org// -all", "permerror"),
    ("a-with-prefixes-exchanged", "v=spf1 a:mail.example.org//64/24 -all", "permerror"),
    ("a-with-letters-in-prefix", "v=spf1 a:mail.example.org/x -all", "permerror"),
    ("a-with-empty-name", "v=spf1 a: -all", "permerror"),
    ("a-with-empty-name-and-prefix", "v=spf1 a:/24 -all", "permerror"),
    ("a-without-addresses", "v=spf1 a:nothing.example.org -all", "fail"),
    ("a-that-times-out", "v=spf1 a:slow.example.net -all", "temperror"),
    ("a-behind-an-alias", "v=spf1 a:alias.example.net -all", "pass"),
    ("a-of-one-label", "v=spf1 a:localhost -all", "permerror", {"section": "7.1"}),
    ("a-of-an-address", "v=spf1 a:192.0.2.10 -all", "permerror", {"section": "7.1"}),
    ("a-with-final-dot", "v=spf1 a:mail.example.org. -all", "pass", {"section": "7.1"}),
    ("a-with-two-final-dots", "v=spf1 a:mail.example.org.. -all", "permerror", {"section": "7.1"}),
    (
        "a-with-many-addresses",
        "v=spf1 a:many.example.org -all",
        "pass",
        {"more": many("many.example.org A 198.51.100.#", 30) + "\nmany.example.org A 192.0.2.10"},
    ),
    ("a-with-a-port", "v=spf1 a:mail.example.org:25 -all", "permerror"),
    ("a-in-capitals", "v=spf1 A:MAIL.EXAMPLE.ORG -all", "pass"),
)
add(
    "5.4",
    ("mx-first-host", "v=spf1 mx -all", "pass"),
    ("mx-second-host", "v=spf1 mx -all", "pass", {"ip": "198.51.100.7"}),
    ("mx-none-of-them", "v=spf1 mx -all", "fail", {"ip": "203.0.113.1"}),
    ("mx-over-ipv6", "v=spf1 mx -all", "pass", V6),
    (
        "mx-of-another",
        "v=spf1 mx:other.example.net -all",
        "pass",
        {"more": "other.example.net MX 5 mail.example.org."},
    ),
    ("mx-without-mx", "v=spf1 mx:mail.example.org -all", "fail"),
    ("mx-with-prefix", "v=spf1 mx/24 -all", "pass", {"ip": "198.51.100.99"}),
    ("mx-with-both-prefixes", "v=spf1 mx/24//48 -all", "pass", {"ip": "2001:db8:ffff::99"}),
    ("mx-that-times-out", "v=spf1 mx:slow.example.net -all", "temperror"),
    (
        "mx-whose-host-times-out",
        "v=spf1 mx:x.example.net -all",
        "temperror",
        {"more": "x.example.net MX 10 slow.example.net."},
    ),
    ("mx-null", "v=spf1 mx:null.example.net -all", "fail", {"more": "null.example.net MX 0 ."}),
    ("mx-with-empty-name", "v=spf1 mx: -all", "permerror"),
    ("mx-with-prefix-33", "v=spf1 mx/33 -all", "permerror"),
    (
        "mx-never-means-the-domains-own-address",
        "v=spf1 mx:plain.example.net -all",
        "fail",
        {"more": "plain.example.net A 192.0.2.10"},
    ),
    (
        "mx-that-points-to-an-alias",
        "v=spf1 mx:x.example.net -all",
        "pass",
        {"more": "x.example.net MX 10 alias.example.net."},
    ),
)
add(
    "5.5",
    ("ptr-of-the-domain", "v=spf1 ptr -all", "pass"),
    ("ptr-of-another", "v=spf1 ptr:example.org -all", "pass"),
    ("ptr-of-the-very-name", "v=spf1 ptr:mail.example.org -all", "pass"),
    ("ptr-of-a-name-below", "v=spf1 ptr:x.mail.example.org -all", "fail"),
    ("ptr-of-somebody-else", "v=spf1 ptr:example.com -all", "fail"),
    ("ptr-of-a-name-with-the-same-end", "v=spf1 ptr:ample.org -all", "fail"),
    (
        "ptr-that-does-not-confirm",
        "v=spf1 ptr -all",
        "fail",
        {"ip": "192.0.2.66", "more": "66.2.0.192.in-addr.arpa PTR mail.example.org."},
    ),
    ("ptr-without-reverse-name", "v=spf1 ptr -all", "fail", {"ip": "203.0.113.5"}),
    ("ptr-in-capitals", "v=spf1 PTR:EXAMPLE.ORG -all", "pass"),
    ("ptr-with-empty-name", "v=spf1 ptr: -all", "permerror"),
    ("ptr-with-prefix", "v=spf1 ptr/24 -all", "permerror"),
    (
        "ptr-over-ipv6",
        "v=spf1 ptr -all",
        "pass",
        V6
        | {
            "more": "0.1." + "0." * 22 + "8.b.d.0.1.0.0.2.ip6.arpa PTR mail.example.org.",
        },
    ),
    (
        "ptr-second-name-confirms",
        "v=spf1 ptr:other.example.net -all",
        "pass",
        {"more": "10.2.0.192.in-addr.arpa PTR x.other.example.net.\nx.other.example.net A 192.0.2.10"},
    ),
    (
        "ptr-that-times-out",
        "v=spf1 ptr ~all",
        "softfail",
        {"ip": "192.0.2.77", "more": "77.2.0.192.in-addr.arpa FAIL PTR", "pyspf": "temperror"},
    ),
    (
        "ptr-whose-host-times-out",
        "v=spf1 ptr ~all",
        "softfail",
        {"ip": "192.0.2.77", "more": "77.2.0.192.in-addr.arpa PTR slow.example.net.", "pyspf": "temperror"},
    ),
)
add(
    "5.6",
    ("ip4", "v=spf1 ip4:192.0.2.10 -all", "pass"),
    ("ip4-that-is-not", "v=spf1 ip4:192.0.2.11 -all", "fail"),
    ("ip4-network", "v=spf1 ip4:192.0.2.0/24 -all", "pass"),
    ("ip4-network-with-host-bits", "v=spf1 ip4:192.0.2.99/24 -all", "pass"),
    ("ip4-network-that-is-too-small", "v=spf1 ip4:192.0.2.0/29 -all", "fail"),
    ("ip4-everything", "v=spf1 ip4:203.0.113.0/0 -all", "pass"),
    ("ip4-prefix-33", "v=spf1 ip4:192.0.2.0/33 -all", "permerror"),
    ("ip4-prefix-with-leading-zero", "v=spf1 ip4:192.0.2.0/024 -all", "permerror"),
    ("ip4-empty-prefix", "v=spf1 ip4:192.0.2.0/ -all", "permerror"),
    ("ip4-with-ipv6-prefix", "v=spf1 ip4:192.0.2.0//24 -all", "permerror"),
    ("ip4-leading-zero", "v=spf1 ip4:192.0.02.10 -all", "permerror"),
    ("ip4-of-three-parts", "v=spf1 ip4:192.0.2 -all", "permerror"),
    ("ip4-of-five-parts", "v=spf1 ip4:192.0.2.10.1 -all", "permerror"),
    ("ip4-above-255", "v=spf1 ip4:192.0.2.256 -all", "permerror"),
    ("ip4-with-a-port", "v=spf1 ip4:192.0.2.10:25 -all", "permerror"),
    ("ip4-of-a-name", "v=spf1 ip4:mail.example.org -all", "permerror"),
    ("ip4-without-an-address", "v=spf1 ip4 -all", "permerror"),
    ("ip4-with-an-empty-address", "v=spf1 ip4: -all", "permerror"),
    ("ip4-of-an-ipv6-address", "v=spf1 ip4:2001:db8::10 -all", "permerror"),
    ("ip4-over-ipv6", "v=spf1 ip4:0.0.0.0/0 -all", "fail", V6),
    ("ip4-in-capitals", "v=spf1 IP4:192.0.2.10 -all", "pass"),
    ("ip4-with-a-blank", "v=spf1 ip4: 192.0.2.10 -all", "permerror"),
    ("ip6", "v=spf1 ip6:2001:db8::10 -all", "pass", V6),
    ("ip6-that-is-not", "v=spf1 ip6:2001:db8::11 -all", "fail", V6),
    ("ip6-network", "v=spf1 ip6:2001:db8::/32 -all", "pass", V6),
    ("ip6-written-out", "v=spf1 ip6:2001:0DB8:0:0:0:0:0:10 -all", "pass", V6),
    ("ip6-with-an-ipv4-tail", "v=spf1 ip6:2001:db8::0.0.0.16 -all", "pass", V6),
    ("ip6-prefix-129", "v=spf1 ip6:2001:db8::/129 -all", "permerror"),
    ("ip6-prefix-128", "v=spf1 ip6:2001:db8::10/128 -all", "pass", V6),
    ("ip6-prefix-zero", "v=spf1 ip6:::1/0 -all", "pass", V6),
    ("ip6-prefix-with-leading-zero", "v=spf1 ip6:2001:db8::/032 -all", "permerror"),
    ("ip6-over-ipv4", "v=spf1 ip6:::/0 -all", "fail"),
    (
        "ip6-over-mapped-ipv6",
        "v=spf1 ip6:::ffff:192.0.2.10 -all",
        "fail",
        {"ip": "::ffff:192.0.2.10", "section": "5"},
    ),
    ("ip6-of-an-ipv4-address", "v=spf1 ip6:192.0.2.10 -all", "permerror"),
    ("ip6-with-two-gaps", "v=spf1 ip6:2001::db8::10 -all", "permerror"),
    ("ip6-with-too-many-parts", "v=spf1 ip6:1:2:3:4:5:6:7:8:9 -all", "permerror"),
    ("ip6-with-a-zone", "v=spf1 ip6:fe80::1%eth0 -all", "permerror"),
    ("ip6-in-brackets", "v=spf1 ip6:[2001:db8::10] -all", "permerror"),
    ("ip6-with-a-long-part", "v=spf1 ip6:2001:db8::00010 -all", "permerror"),
    ("ip6-without-an-address", "v=spf1 ip6 -all", "permerror"),
)
add(
    "5.7",
    ("exists", "v=spf1 exists:mail.example.org -all", "pass"),
    ("exists-not", "v=spf1 exists:nothing.example.org -all", "fail"),
    (
        "exists-with-aaaa-only",
        "v=spf1 exists:v6.example.org -all",
        "fail",
        V6 | {"more": "v6.example.org AAAA 2001:db8::10"},
    ),
    (
        "exists-asks-a-over-ipv6",
        "v=spf1 exists:v4.example.org -all",
        "pass",
        V6 | {"more": "v4.example.org A 127.0.0.2"},
    ),
    ("exists-without-a-name", "v=spf1 exists -all", "permerror"),
    ("exists-with-an-empty-name", "v=spf1 exists: -all", "permerror"),
    ("exists-with-prefix", "v=spf1 exists:mail.example.org/24 -all", "permerror"),
    ("exists-that-times-out", "v=spf1 exists:slow.example.net -all", "temperror"),
    ("exists-behind-an-alias", "v=spf1 exists:alias.example.net -all", "pass"),
    (
        "exists-with-a-slash-inside",
        "v=spf1 exists:a/b.example.org -all",
        "pass",
        {"more": "a/b.example.org A 127.0.0.2"},
    ),
)
add(
    "6.1",
    ("redirect", "v=spf1 redirect=no.example.net", "fail"),
    ("redirect-that-passes", "v=spf1 redirect=client.example.net", "pass"),
    ("redirect-after-a-match", "v=spf1 ip4:192.0.2.10 redirect=no.example.net", "pass", {"pyspf_lookups": 1}),
    (
        "redirect-first-yet-used-last",
        "v=spf1 redirect=no.example.net ip4:192.0.2.10",
        "pass",
        {"pyspf_lookups": 1},
    ),
    ("redirect-without-record", "v=spf1 redirect=nothing.example.net", "permerror"),
    ("redirect-to-other-texts", "v=spf1 redirect=notspf.example.net", "permerror"),
    ("redirect-that-times-out", "v=spf1 redirect=slow.example.net", "temperror"),
    ("redirect-to-a-broken-record", "v=spf1 redirect=broken.example.net", "permerror"),
    (
        "redirect-twice",
        "v=spf1 redirect=no.example.net redirect=no.example.net",
        "permerror",
        {"section": "6"},
    ),
    ("redirect-with-empty-name", "v=spf1 redirect=", "permerror"),
    ("redirect-of-one-label", "v=spf1 redirect=localhost", "permerror"),
    ("redirect-to-itself", "v=spf1 redirect=example.org", "permerror", {"section": "4.6.4"}),
    ("redirect-by-macro", "v=spf1 redirect=%{l}.example.net", "fail", {"sender": "no@example.org"}),
    ("redirect-with-colon", "v=spf1 redirect:no.example.net", "permerror"),
    ("redirect-in-capitals", "v=spf1 REDIRECT=no.example.net", "fail", {"pyspf": "neutral"}),
    (
        "redirect-twice-in-two-cases",
        "v=spf1 redirect=no.example.net Redirect=no.example.net",
        "permerror",
        {"section": "6", "pyspf": "fail"},
    ),
    (
        "redirect-of-a-redirect",
        "v=spf1 redirect=one.example.net",
        "softfail",
        {"more": "one.example.net TXT v=spf1 redirect=soft.example.net"},
    ),
    (
        "macro-d-after-a-redirect-is-the-targets",
        "v=spf1 redirect=one.example.net",
        "pass",
        {
            "more": "one.example.net TXT v=spf1 exists:%{d}.list.example.net -all\n"
            "one.example.net.list.example.net A 127.0.0.2"
        },
    ),
    (
        "redirect-not-needed-beyond-ten",
        "v=spf1 " + terms("a:n#.example.org", 10) + " redirect=no.example.net",
        "pass",
        {
            "more": many("n#.example.org A 198.51.100.#", 9) + "\nn10.example.org A 192.0.2.10",
            "section": "4.6.4",
            "pyspf": "permerror",
        },
    ),
)
add(
    "6",
    ("unknown-modifier", "v=spf1 moo=cow -all", "fail"),
    ("unknown-modifier-with-everything-in-its-name", "v=spf1 m.o-o_1=cow -all", "fail"),
    ("unknown-modifier-without-a-value", "v=spf1 moo= -all", "fail"),
    ("unknown-modifier-with-macros", "v=spf1 moo=%{d}%%%_%- -all", "fail"),
    ("unknown-modifier-with-a-wrong-macro", "v=spf1 moo=%x -all", "permerror"),
    ("unknown-modifier-with-an-open-macro", "v=spf1 moo=%{d -all", "permerror", {"pyspf": "fail"}),
    ("unknown-modifier-with-a-lone-percent", "v=spf1 moo=50% -all", "permerror"),
    ("unknown-modifier-twice", "v=spf1 moo=1 moo=2 -all", "fail", {"pyspf": "permerror"}),
    ("unknown-modifier-with-a-slash-in-its-name", "v=spf1 m/oo=1 -all", "permerror"),
    ("unknown-modifier-that-begins-with-a-digit", "v=spf1 1moo=1 -all", "permerror"),
    ("modifier-that-looks-like-a-mechanism", "v=spf1 ip4=192.0.2.10 -all", "fail"),
    ("obsolete-default-modifier", "v=spf1 default=deny", "neutral"),
    ("modifier-with-a-qualifier", "v=spf1 -moo=1 -all", "permerror"),
)
EXP = "exp.example.org TXT "
add(
    "6.2",
    ("exp", "v=spf1 -all exp=exp.example.org", "fail", {"more": EXP + "Not you", "explanation": "Not you"}),
    (
        "exp-with-macros",
        "v=spf1 -all exp=exp.example.org",
        "fail",
        {
            "more": EXP + "%{i} is not one of %{d}'s mail servers, says %{r}",
            "explanation": "192.0.2.10 is not one of example.org's mail servers, says unknown",
        },
    ),
    (
        "exp-with-the-readable-address",
        "v=spf1 -all exp=exp.example.org",
        "fail",
        {"ip": CLIENT6, "more": EXP + "%{c}", "explanation": CLIENT6},
    ),
    (
        "exp-by-macro",
        "v=spf1 -all exp=%{l}.example.org",
        "fail",
        {"sender": "exp@example.org", "more": EXP + "Not you", "explanation": "Not you"},
    ),
    (
        "exp-of-a-pass",
        "v=spf1 +all exp=exp.example.org",
        "pass",
        {"more": EXP + "Not you", "explanation": ""},
    ),
    (
        "exp-of-a-softfail",
        "v=spf1 ~all exp=exp.example.org",
        "softfail",
        {"more": EXP + "Not you", "explanation": ""},
    ),
    ("exp-without-text", "v=spf1 -all exp=nothing.example.org", "fail", {"explanation": ""}),
    (
        "exp-with-two-texts",
        "v=spf1 -all exp=exp.example.org",
        "fail",
        {"more": EXP + "one\n" + EXP + "two", "explanation": ""},
    ),
    ("exp-that-times-out", "v=spf1 -all exp=slow.example.net", "fail", {"explanation": ""}),
    (
        "exp-with-a-wrong-macro",
        "v=spf1 -all exp=exp.example.org",
        "fail",
        {"more": EXP + "%{x}", "explanation": ""},
    ),
    (
        "exp-with-a-lone-percent",
        "v=spf1 -all exp=exp.example.org",
        "fail",
        {"more": EXP + "100% sure", "explanation": ""},
    ),
    (
        "exp-that-is-not-ascii",
        "v=spf1 -all exp=exp.example.org",
        "fail",
        {"more": EXP + "gr\u00fc\u00dfe", "explanation": ""},
    ),
    ("exp-with-an-empty-name", "v=spf1 -all exp=", "permerror"),
    ("exp-of-one-label", "v=spf1 -all exp=localhost", "permerror"),
    ("exp-twice", "v=spf1 -all exp=exp.example.org exp=exp.example.org", "permerror", {"section": "6"}),
    (
        "exp-of-the-redirects-target",
        "v=spf1 redirect=one.example.net exp=exp.example.org",
        "fail",
        {
            "more": EXP + "theirs\none.example.net TXT v=spf1 -all exp=exp.example.net\n"
            "exp.example.net TXT ours",
            "explanation": "ours",
        },
    ),
    (
        "exp-is-not-kept-over-a-redirect",
        "v=spf1 redirect=no.example.net exp=exp.example.org",
        "fail",
        {"more": EXP + "theirs", "explanation": ""},
    ),
    (
        "exp-of-an-include-is-not-used",
        "v=spf1 include:one.example.net -all exp=exp.example.org",
        "fail",
        {
            "more": EXP
            + "ours\none.example.net TXT v=spf1 -all exp=exp.example.net\nexp.example.net TXT theirs",
            "explanation": "ours",
        },
    ),
    (
        "exp-of-an-include-alone-is-not-used",
        "v=spf1 include:one.example.net -all",
        "fail",
        {
            "more": "one.example.net TXT v=spf1 -all exp=exp.example.net\nexp.example.net TXT theirs",
            "explanation": "",
        },
    ),
    (
        "exp-costs-no-lookup",
        "v=spf1 " + terms("a:n#.example.org", 10) + " -all exp=exp.example.org",
        "fail",
        {
            "more": EXP + "Not you\n" + many("n#.example.org A 198.51.100.#", 10),
            "explanation": "Not you",
            "section": "4.6.4",
        },
    ),
    (
        "exp-that-gives-nothing-is-no-void-lookup",
        "v=spf1 a:void1.example.org a:void2.example.org -all exp=nothing.example.org",
        "fail",
        {"explanation": "", "section": "4.6.4"},
    ),
    (
        "exp-with-constant-macros",
        "v=spf1 -all exp=exp.example.org",
        "fail",
        {"more": EXP + "%%%_%-", "explanation": "% %20"},
    ),
)
MACRO = "7.3"
ALL_KINDS = (
    "v=spf1 a:other.example.org mx:x.example.net ptr:example.com exists:%{i}.e.example.net "
    "include:one.example.net redirect=two.example.net"
)


def macro_case(
    name: str, spec: str, expanded: str, **options: object
) -> tuple[str, str, str, dict[str, object]]:
    """That a spec expands to a name, and to no other: it exists."""
    more = f"{expanded}.m.example.net A 127.0.0.2\n" + str(options.pop("more", ""))
    return name, f"v=spf1 exists:{spec}.m.example.net -all", "pass", {"more": more, **options}


STRONG = {
    "sender": "strong-bad@email.example.com",
    "more": "email.example.com TXT v=spf1 redirect=example.org",
}
add(
    MACRO,
    macro_case("macro-s", "%{s}", "strong-bad@email.example.com", **STRONG),
    macro_case("macro-o", "%{o}", "email.example.com", **STRONG),
    macro_case("macro-o1", "%{o1}", "com", **STRONG),
    macro_case("macro-o2", "%{o2}", "example.com", **STRONG),
    macro_case("macro-o3", "%{o3}", "email.example.com", **STRONG),
    macro_case("macro-o4", "%{o4}", "email.example.com", **STRONG),
    macro_case("macro-o-with-a-large-number", "%{o128}", "email.example.com", **STRONG),
    macro_case("macro-or", "%{or}", "com.example.email", **STRONG),
    macro_case("macro-o2r", "%{o2r}", "example.email", **STRONG),
    macro_case("macro-o2-reversed-in-capitals", "%{O2R}", "example.email", pyspf="fail", **STRONG),
    macro_case("macro-d", "%{d}", "example.org"),
    macro_case("macro-d1", "%{d1}", "org"),
    macro_case("macro-l", "%{l}", "strong-bad", **STRONG),
    macro_case("macro-l-", "%{l-}", "strong.bad", **STRONG),
    macro_case("macro-lr", "%{lr}", "strong-bad", **STRONG),
    macro_case("macro-lr-", "%{lr-}", "bad.strong", **STRONG),
    macro_case("macro-l1r-", "%{l1r-}", "strong", **STRONG),
    macro_case("macro-h", "%{h}", "mail.example.org"),
    macro_case("macro-i", "%{i}", "192.0.2.10"),
    macro_case("macro-ir", "%{ir}", "10.2.0.192"),
    macro_case("macro-v", "%{v}", "in-addr"),
    macro_case("macro-v-over-ipv6", "%{v}", "ip6", **V6),
    macro_case("macro-i-over-ipv6", "%{i2}", "1.0", **V6),
    macro_case(
        "macro-ir-over-ipv6",
        "%{ir}.%{v}",
        "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6",
        **V6,
    ),
    macro_case("macro-p", "%{p}", "mail.example.org", pyspf_lookups=1),
    macro_case("macro-p2", "%{p2}", "example.org", pyspf_lookups=1),
    macro_case("macro-p-unknown", "%{p}", "unknown", ip="203.0.113.5", pyspf_lookups=1),
    macro_case(
        "macro-p-prefers-a-name-below-the-domain",
        "%{p}",
        "mail.example.org",
        pyspf_lookups=1,
        more="10.2.0.192.in-addr.arpa PTR a.example.net.\na.example.net A 192.0.2.10",
    ),
    macro_case(
        "macro-p-prefers-the-domain",
        "%{p}",
        "example.org",
        pyspf_lookups=1,
        more="10.2.0.192.in-addr.arpa PTR example.org.\nexample.org A 192.0.2.10",
    ),
    macro_case("macro-several-delimiters", "%{l.-+}", "a.b.c.d", sender="a-b+c.d@example.org"),
    macro_case("macro-delimiter-plus", "%{l1+}", "tag", sender="user+tag@example.org"),
    macro_case("macro-delimiter-equals", "%{l1r=}", "bounce", sender="bounce=x=y@example.org"),
    macro_case("macro-delimiter-slash-and-underscore", "%{l/_}", "a.b.c", sender="a/b_c@example.org"),
    macro_case("macro-percent", "%%", "%"),
    macro_case("macro-url-blank", "%-", "%20"),
    macro_case("macro-escaped", "%{L}", "a%2fb%3d", sender="a/b=@example.org"),
    macro_case("macro-not-escaped", "%{L}", "a-b_c~d", sender="a-b_c~d@example.org"),
    (
        "macro-of-an-empty-part",
        "v=spf1 exists:%{l-}.example.org -all",
        "fail",
        {"sender": "a--b@example.org", "section": "4.8"},
    ),
    macro_case("macro-two-in-a-label", "x-%{d1}-%{v}", "x-org-in-addr"),
)
add(
    "7.1",
    (
        "macro-zero-parts",
        "v=spf1 exists:%{d0}.example.org -all",
        "permerror",
        {"section": MACRO, "pyspf": "fail"},
    ),
    ("macro-unknown-letter", "v=spf1 exists:%{x}.example.org -all", "permerror"),
    ("macro-without-a-letter", "v=spf1 exists:%{}.example.org -all", "permerror"),
    ("macro-not-closed", "v=spf1 exists:%{d.example.org -all", "permerror", {"pyspf": "fail"}),
    ("macro-in-parentheses", "v=spf1 exists:%(d).example.org -all", "permerror"),
    ("macro-percent-at-the-end", "v=spf1 exists:example.org% -all", "permerror"),
    (
        "macro-with-an-unknown-delimiter",
        "v=spf1 exists:%{d:}.example.org -all",
        "permerror",
        {"pyspf": "fail"},
    ),
    (
        "macro-with-its-parts-exchanged",
        "v=spf1 exists:%{dr2}.example.org -all",
        "permerror",
        {"pyspf": "fail"},
    ),
    ("macro-with-two-letters", "v=spf1 exists:%{dd}.example.org -all", "permerror", {"pyspf": "fail"}),
    ("macro-c-outside-exp", "v=spf1 exists:%{c}.example.org -all", "permerror", {"section": "7.2"}),
    ("macro-r-outside-exp", "v=spf1 exists:%{r}.example.org -all", "permerror", {"section": "7.2"}),
    ("macro-t-outside-exp", "v=spf1 exists:%{t}.example.org -all", "permerror", {"section": "7.2"}),
    ("spec-that-ends-in-a-macro", "v=spf1 a:mail.%{d} -all", "pass"),
    ("spec-that-is-a-macro", "v=spf1 a:%{h} -all", "pass"),
    ("spec-that-is-a-macro-with-prefix", "v=spf1 a:%{d}/24 -all", "pass"),
    ("spec-that-ends-in-a-number", "v=spf1 a:mail.example.123 -all", "permerror"),
    ("spec-that-ends-in-a-hyphen", "v=spf1 a:mail.example.com- -all", "permerror"),
    ("spec-that-ends-in-an-underscore", "v=spf1 a:mail.example._x -all", "permerror"),
    (
        "spec-with-a-hyphen-in-its-top-label",
        "v=spf1 a:mail.example.a-b -all",
        "pass",
        {"more": "mail.example.a-b A 192.0.2.10"},
    ),
    (
        "spec-with-digits-in-its-top-label",
        "v=spf1 a:mail.example.x1 -all",
        "pass",
        {"more": "mail.example.x1 A 192.0.2.10"},
    ),
    (
        "spec-with-underscores-before",
        "v=spf1 include:_spf.example.net -all",
        "pass",
        {"more": "_spf.example.net TXT v=spf1 +all"},
    ),
    (
        "spec-with-odd-characters-before",
        "v=spf1 exists:a!b.example.org -all",
        "pass",
        {"more": "a!b.example.org A 127.0.0.2"},
    ),
    ("spec-with-a-long-label", f"v=spf1 a:{'a' * 64}.example.org -all", "fail", {"section": "4.8"}),
    ("spec-with-an-empty-label", "v=spf1 a:mail..example.org -all", "fail", {"section": "4.8"}),
    (
        "spec-longer-than-a-name-is-cut-from-the-left",
        "v=spf1 exists:%{l}.x.example.org -all",
        "pass",
        {
            "sender": f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}@example.org",
            "section": MACRO,
            "more": f"{'b' * 60}.{'c' * 60}.{'d' * 60}.x.example.org A 127.0.0.2",
        },
    ),
)
add(
    "4.6.4",
    (
        "ten-lookups",
        "v=spf1 " + terms("a:n#.example.org", 10) + " -all",
        "fail",
        {"more": many("n#.example.org A 198.51.100.#", 10)},
    ),
    (
        "eleven-lookups",
        "v=spf1 " + terms("a:n#.example.org", 11) + " -all",
        "permerror",
        {"more": many("n#.example.org A 198.51.100.#", 11)},
    ),
    (
        "eleven-lookups-but-the-tenth-matches",
        "v=spf1 " + terms("a:n#.example.org", 11) + " -all",
        "pass",
        {"more": many("n#.example.org A 198.51.100.#", 9) + "\nn10.example.org A 192.0.2.10"},
    ),
    (
        "ten-lookups-of-all-kinds",
        ALL_KINDS,
        "fail",
        {
            "more": "x.example.net MX 1 other.example.org.\n"
            "one.example.net TXT v=spf1 a:other.example.org a:other.example.org ?all\n"
            "two.example.net TXT v=spf1 a:other.example.org a:other.example.org -all"
        },
    ),
    (
        "eleven-lookups-of-all-kinds",
        ALL_KINDS,
        "permerror",
        {
            "more": "x.example.net MX 1 other.example.org.\n"
            "one.example.net TXT v=spf1 a:other.example.org a:other.example.org ?all\n"
            "two.example.net TXT v=spf1 " + "a:other.example.org " * 3 + "-all"
        },
    ),
    (
        "ten-includes-in-a-row",
        "v=spf1 include:i1.example.net -all",
        "pass",
        {
            "more": "\n".join(
                f"i{n}.example.net TXT v=spf1 include:i{n + 1}.example.net -all" for n in range(1, 10)
            )
            + "\ni10.example.net TXT v=spf1 +all"
        },
    ),
    (
        "eleven-includes-in-a-row",
        "v=spf1 include:i1.example.net -all",
        "permerror",
        {
            "more": "\n".join(
                f"i{n}.example.net TXT v=spf1 include:i{n + 1}.example.net -all" for n in range(1, 11)
            )
            + "\ni11.example.net TXT v=spf1 +all"
        },
    ),
    (
        "ten-redirects",
        "v=spf1 redirect=r1.example.net",
        "fail",
        {
            "more": "\n".join(
                f"r{n}.example.net TXT v=spf1 redirect=r{n + 1}.example.net" for n in range(1, 10)
            )
            + "\nr10.example.net TXT v=spf1 -all"
        },
    ),
    (
        "eleven-redirects",
        "v=spf1 redirect=r1.example.net",
        "permerror",
        {
            "more": "\n".join(
                f"r{n}.example.net TXT v=spf1 redirect=r{n + 1}.example.net" for n in range(1, 11)
            )
            + "\nr11.example.net TXT v=spf1 -all"
        },
    ),
    (
        "addresses-and-all-cost-nothing",
        "v=spf1 " + terms("ip4:198.51.100.#", 40) + " ip4:192.0.2.10 -all",
        "pass",
    ),
    ("two-void-lookups", "v=spf1 a:void1.example.org mx:void2.example.org -all", "fail"),
    (
        "three-void-lookups",
        "v=spf1 a:void1.example.org mx:void2.example.org exists:void3.example.org -all",
        "permerror",
    ),
    (
        "three-void-lookups-but-a-match-before",
        "v=spf1 a:v1.example.org a:v2.example.org a:mail.example.org a:v3.example.org -all",
        "pass",
    ),
    (
        "two-void-lookups-of-empty-names",
        "v=spf1 a:text.example.org a:text.example.org -all",
        "fail",
        {"more": "text.example.org TXT hello"},
    ),
    (
        "three-void-lookups-of-empty-names",
        "v=spf1 " + "a:text.example.org " * 3 + "-all",
        "permerror",
        {"more": "text.example.org TXT hello"},
    ),
    (
        "void-lookups-of-includes-count",
        "v=spf1 a:v1.example.org include:one.example.net -all",
        "permerror",
        {"more": "one.example.net TXT v=spf1 a:v2.example.org a:v3.example.org -all"},
    ),
    (
        "void-lookups-of-mx-hosts-count",
        "v=spf1 mx:x.example.net -all",
        "permerror",
        {"more": many("x.example.net MX # v#.example.net.", 3)},
    ),
    (
        "two-void-lookups-of-mx-hosts",
        "v=spf1 mx:x.example.net -all",
        "fail",
        {"more": many("x.example.net MX # v#.example.net.", 2)},
    ),
    (
        "a-timeout-is-no-void-lookup",
        "v=spf1 a:v1.example.org a:v2.example.org a:slow.example.net -all",
        "temperror",
    ),
    (
        "names-that-nobody-can-ask-for-are-no-void-lookups",
        "v=spf1 " + "a:mail..example.org " * 4 + "-all",
        "fail",
    ),
    (
        "ten-mx-hosts",
        "v=spf1 mx:x.example.net -all",
        "pass",
        {
            "more": many("x.example.net MX # m#.example.net.\nm#.example.net A 198.51.100.#", 9)
            + "\nx.example.net MX 10 mail.example.org."
        },
    ),
    (
        "eleven-mx-hosts",
        "v=spf1 mx:x.example.net -all",
        "permerror",
        {
            "more": many("x.example.net MX # m#.example.net.\nm#.example.net A 198.51.100.#", 10)
            + "\nx.example.net MX 99 mail.example.org."
        },
    ),
    (
        "eleven-mx-hosts-and-the-first-matches",
        "v=spf1 mx:x.example.net -all",
        "permerror",
        {
            "more": "x.example.net MX 1 mail.example.org.\n"
            + many("x.example.net MX 5 m#.example.net.\nm#.example.net A 198.51.100.#", 10)
        },
    ),
    (
        "tenth-ptr-name",
        "v=spf1 ptr -all",
        "pass",
        {
            "ip": "192.0.2.88",
            "more": many("88.2.0.192.in-addr.arpa PTR p#.example.net.\np#.example.net A 192.0.2.88", 9)
            + "\n88.2.0.192.in-addr.arpa PTR p.example.org.\np.example.org A 192.0.2.88",
        },
    ),
    (
        "eleventh-ptr-name-is-ignored",
        "v=spf1 ptr -all",
        "fail",
        {
            "ip": "192.0.2.88",
            "more": many("88.2.0.192.in-addr.arpa PTR p#.example.net.\np#.example.net A 192.0.2.88", 10)
            + "\n88.2.0.192.in-addr.arpa PTR p.example.org.\np.example.org A 192.0.2.88",
        },
    ),
    (
        "macro-p-costs-a-lookup",
        "v=spf1 exists:%{p}.m.example.net " + terms("a:n#.example.org", 9) + " -all",
        "permerror",
        {"more": many("n#.example.org A 198.51.100.#", 9), "pyspf": "fail"},
    ),
    (
        "macro-p-and-nine-lookups",
        "v=spf1 exists:%{p}.m.example.net " + terms("a:n#.example.org", 8) + " -all",
        "fail",
        {"more": many("n#.example.org A 198.51.100.#", 8), "pyspf_lookups": 9},
    ),
)
CASES += [
    Case(
        "mx-match-before-void-hosts",
        at_org(
            "v=spf1 mx:x.example.net -all",
            "x.example.net MX 1 mail.example.org.\n" + many("x.example.net MX 5 v#.example.net.", 3),
        ),
        "pass",
        "5.4",
        pyspf="permerror",
    ),
    Case(
        "mx-match-before-a-timeout",
        at_org(
            "v=spf1 mx:x.example.net -all",
            "x.example.net MX 1 mail.example.org.\nx.example.net MX 5 slow.example.net.",
        ),
        "pass",
        "5.4",
        pyspf="temperror",
    ),
]
