"""For each verdict the world is broken, exactly that verdict turns, and it turns back with the world."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from maildns.judging.check import State
from mailwright.dnscheck import delegation
from tests.dns.checkfleet import ADDRESS, HOST, POLICY, CheckedFleet, all_ok, checked_fleet
from tests.dns.checkworld import LISTS, PLAIN, REVERSE, SIGNED
from tests.dns.relay import relay
from tests.dns.tlsworld import Identity, authority, leaf

OK, FAULT, UNKNOWN = State.OK, State.FAULT, State.UNKNOWN

DAY = timedelta(days=1)

Break = Callable[[CheckedFleet], AbstractContextManager[Any]]
Key = tuple[str, str, str]


@pytest.fixture(scope="module", name="fleet")
def fleet_fixture(tmp_path_factory) -> Iterator[CheckedFleet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delegation, "GRACE", 0.2)
        patch.setattr(delegation, "STEP", 0.05)
        with checked_fleet(tmp_path_factory.mktemp("check"), patch) as fleet:
            yield fleet


class Case(NamedTuple):
    """What is broken, which verdicts turn, and what the first of them says."""

    broken: str
    how: Break
    turned: dict[Key, State]
    says: str


# Ways to break the world


def holding(zone: str, *lines: str) -> Break:
    return lambda fleet: fleet.world.holding(zone, *lines)


def lacking(zone: str, *names: str) -> Break:
    """Sets away for a while: `NAME TYPE`."""

    @contextmanager
    def broken(fleet: CheckedFleet) -> Iterator[None]:
        with fleet.world.lacking(zone, *(line for name in names for line in lines_of(fleet, zone, name))):
            yield

    return broken


def instead(zone: str, name: str, value: str) -> Break:
    """Another value in the place of a set's."""

    @contextmanager
    def broken(fleet: CheckedFleet) -> Iterator[None]:
        lines = lines_of(fleet, zone, name)
        host, type_ = name.split()
        with (
            fleet.world.holding(zone, f"{host} 3600 {type_} {value}"),
            fleet.world.lacking(zone, *lines),
        ):
            yield

    return broken


def lines_of(fleet: CheckedFleet, zone: str, name: str) -> list[str]:
    server = fleet.world.primary if zone in (SIGNED, PLAIN, REVERSE) else fleet.world.parent
    return server.records(*name.split())


def together(*ways: Break) -> Break:
    @contextmanager
    def broken(fleet: CheckedFleet) -> Iterator[None]:
        with ExitStack() as stack:
            for way in ways:
                stack.enter_context(way(fleet))
            yield

    return broken


def web(**said: Any) -> Break:
    return lambda fleet: _changed(fleet.web, **said)


def mail(**said: Any) -> Break:
    return lambda fleet: _changed(fleet.mail, **said)


def later(days: float) -> Break:
    return lambda fleet: _changed(fleet, later=days * DAY.total_seconds())


def down(port: int) -> Break:
    return lambda fleet: _changed(fleet, down={port})


@contextmanager
def _changed(thing: Any, **said: Any) -> Iterator[None]:
    before = {name: getattr(thing, name) for name in said}
    for name, value in said.items():
        setattr(thing, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(thing, name, value)


def policy(old: bytes, new: bytes) -> Break:
    return lambda fleet: _changed(fleet.web, document=fleet.web.document.replace(old, new))


def shown(server: str, name: str, *, ca: Identity | None = None, lasts: timedelta = 10 * DAY) -> Break:
    """Another certificate at the web or the mail server."""

    def broken(fleet: CheckedFleet) -> AbstractContextManager[None]:
        identity = leaf(name, ca or fleet.ca, lasts=lasts)
        return _changed(getattr(fleet, server), context=identity.context(fleet.directory))

    return broken


@contextmanager
def frozen_secondary(fleet: CheckedFleet) -> Iterator[None]:
    """The primary moves on, the secondary does not follow."""
    line = f"printer.{SIGNED} 300 A 192.0.2.9"
    fleet.world.secondary.control("zone-freeze", SIGNED)
    fleet.world.primary.update(SIGNED, line)
    try:
        yield
    finally:
        fleet.world.secondary.control("zone-thaw", SIGNED)
        fleet.world.update(SIGNED, line, how="delete")


@contextmanager
def meddling_secondary(fleet: CheckedFleet) -> Iterator[None]:
    """The secondary says something that the primary never signed."""
    secondary = fleet.world.secondary
    for words in (
        ("zone-begin",), ("zone-set", f"click.{SIGNED}", "3600", "A", "192.0.2.66"), ("zone-commit",),
    ):  # fmt: skip
        secondary.control(words[0], SIGNED, *words[1:])
    try:
        yield
    finally:
        secondary.control("zone-retransfer", SIGNED)
        fleet.world.settle(SIGNED)


def named_server(name: str) -> Break:
    """The parent and the zone name one server more, without saying where it is."""
    line = f"{PLAIN} 3600 NS {name}"
    return together(holding("example.", line), holding(PLAIN, line))


def third_server(address: str) -> Break:
    """The parent and the zone name one server more."""
    lines = (f"{PLAIN} 3600 NS ns3.{PLAIN}", f"ns3.{PLAIN} 3600 A {address}")
    return together(holding("example.", *lines), holding(PLAIN, *lines))


def odd_server(*, tcp: bool, recursive: bool) -> Break:
    @contextmanager
    def broken(fleet: CheckedFleet) -> Iterator[None]:
        with (
            relay("127.0.0.4", fleet.world.port, "127.0.0.1", tcp=tcp, recursive=recursive),
            third_server("127.0.0.4")(fleet),
        ):
            yield

    return broken


# Verdicts

CHAIN: Key = ("dnssec", SIGNED, "chain of trust")
SIGNATURES: list[Key] = [
    ("dnssec", SIGNED, f"signatures at ns{n}.brightpost.example (127.0.0.{n})") for n in (1, 2)
]
SERIAL: Key = ("delegation", SIGNED, "SOA serial")
NAMED: Key = ("delegation", PLAIN, "NS records")
GLUE: Key = ("delegation", PLAIN, "glue")
SECURED: Key = ("tlsa", HOST, "TLSA is signed")
SERVED: Key = ("tlsa", HOST, f"certificate at {ADDRESS}")
STS: Key = ("mta-sts", SIGNED, f"policy at {ADDRESS}")
STS_RECORD: Key = ("mta-sts", SIGNED, "policy")
SPF: Key = ("spf", SIGNED, f"SPF for {ADDRESS}")
HELO: Key = ("spf", HOST, f"SPF of the greeting from {ADDRESS}")
STREAM: Key = ("dmarc", SIGNED, "DMARC of newsletter")
REVERSED: Key = ("fcrdns", HOST, f"reverse DNS of {ADDRESS}")
BY_ADDRESS: Key = ("blocklists", HOST, f"{ADDRESS} at addresses.lists.example")
BY_NAME: list[Key] = [
    ("blocklists", f"{d}.", f"{d} at names.lists.example")
    for d in ("brightpost.example", "parcelnote.example")
]


def third(name: str) -> Key:
    return ("delegation", PLAIN, f"server ns3.parcelnote.example ({name})")


def record(name: str, what: str) -> Key:
    return ("records", name, what)


NO_KEY = lacking(SIGNED, f"r1._domainkey.{SIGNED} TXT")
NO_KEY_RECORD = record(f"r1._domainkey.{SIGNED}", "DKIM")
WRONG_DS = "12345 13 2 " + "ab" * 32
LISTED = f"21.100.51.198.{LISTS[0]}"

CASES = [
    # DNSSEC
    Case("a DS of another key", instead("example.", f"{SIGNED} DS", WRONG_DS),
         {CHAIN: FAULT, SECURED: UNKNOWN}, "matches the DS or trust anchor (tags 12345)"),
    Case("no DS at the parent", lacking("example.", f"{SIGNED} DS"),
         {SECURED: FAULT}, "is delegated without a DS record"),
    Case("signatures that nobody renews", later(13.5),
         dict.fromkeys(SIGNATURES, FAULT), "should have been renewed by now"),
    Case("expired signatures", later(20),
         {CHAIN: FAULT, SECURED: UNKNOWN, ("dnssec", PLAIN, "chain of trust"): FAULT},
         "the signature does not hold (expired)"),
    Case("a server that says what nobody signed", meddling_secondary,
         {SIGNATURES[1]: FAULT, SERIAL: FAULT, record(f"click.{SIGNED}", "A"): FAULT}, f"click.{SIGNED} A"),
    # Delegation
    Case("a secondary with an older serial", frozen_secondary, {SERIAL: FAULT}, "still differ after 0.2 s"),
    Case("a lame server", third_server("127.0.0.3"), {third("127.0.0.3"): FAULT}, "without authority"),
    Case("a server that is down", third_server("127.0.0.9"),
         {third("127.0.0.9"): UNKNOWN}, "does not answer"),
    Case("a server without an address", named_server(f"ns3.{SIGNED}"),
         {("delegation", PLAIN, "server ns3.brightpost.example"): FAULT}, "has no address"),
    Case("a server that nobody knows", named_server("ns.nowhere.test."),
         {("delegation", PLAIN, "server ns.nowhere.test"): UNKNOWN}, "the resolver gives no A"),
    Case("a server without TCP", odd_server(tcp=False, recursive=False),
         {third("127.0.0.4"): FAULT}, "over TCP"),
    Case("a server that offers recursion", odd_server(tcp=True, recursive=True),
         {third("127.0.0.4"): FAULT}, "offers recursion"),
    Case("a parent that does not delegate", lacking("example.", f"{PLAIN} NS"),
         {NAMED: FAULT, ("dnssec", PLAIN, "chain of trust"): FAULT}, "does not delegate"),
    Case("a parent that names too few", lambda f: f.world.lacking("example.", f"{PLAIN} 3600 NS ns2.{PLAIN}"),
         {NAMED: FAULT}, f"the zone names ns2.{PLAIN}, example. does not"),
    Case("a parent that names another", holding("example.", f"{PLAIN} 3600 NS ns1.{SIGNED}"),
         {NAMED: FAULT}, f"example. names ns1.{SIGNED}, the zone does not"),
    Case("wrong glue", instead("example.", f"ns2.{PLAIN} A", "127.0.0.4"), {GLUE: FAULT}, "gives 127.0.0.4"),
    Case("no glue", lacking("example.", f"ns2.{PLAIN} A"), {GLUE: FAULT}, "gives no address for ns2"),
    # Addresses and names
    Case("a reverse name of somebody else", instead(REVERSE, f"21.{REVERSE} PTR", "other.example."),
         {REVERSED: FAULT, record(f"21.{REVERSE}", "PTR"): FAULT}, "it holds other.example."),
    Case("a greeting name without its address", instead(SIGNED, f"{HOST} A", "198.51.100.22"),
         {REVERSED: FAULT, HELO: FAULT, record(HOST, "A"): FAULT,
          ("tlsa", HOST, "certificate at 198.51.100.22"): UNKNOWN},
         f"lacks {ADDRESS}"),
    # MTA-STS
    Case("no policy record", lacking(SIGNED, f"_mta-sts.{SIGNED} TXT"),
         {STS_RECORD: FAULT, record(f"_mta-sts.{SIGNED}", "MTA-STS"): FAULT}, "holds no MTA-STS record"),
    Case("two policy records", holding(SIGNED, f'_mta-sts.{SIGNED} 3600 TXT "v=STSv1; id=2"'),
         {STS_RECORD: FAULT, record(f"_mta-sts.{SIGNED}", "MTA-STS"): FAULT}, "2 MTA-STS records"),
    Case("neither a policy record nor a policy host",
         lacking(SIGNED, f"_mta-sts.{SIGNED} TXT", f"{POLICY} A"),
         {STS_RECORD: FAULT, record(f"_mta-sts.{SIGNED}", "MTA-STS"): FAULT, record(POLICY, "A"): FAULT},
         "has no address"),
    Case("a policy host without an address", lacking(SIGNED, f"{POLICY} A"),
         {STS_RECORD: FAULT, record(POLICY, "A"): FAULT}, "has no address"),
    Case("a policy host that is down", down(443), {STS: UNKNOWN}, "Connection refused"),
    Case("a policy without the MX", policy(b"mx: mx1", b"mx: mx2"), {STS: FAULT}, f"does not name {HOST}"),
    Case("a policy of another fleet file", policy(b"enforce", b"testing"),
         {STS: FAULT}, "mode testing, mx mx1.brightpost.example., max_age 1209600 instead of mode enforce"),
    Case("a document that is no policy", web(document=b"<html>"), {STS: FAULT}, "not a policy"),
    Case("another content type", web(content_type="text/html"),
         {STS: FAULT}, "should be text/plain, and is text/html"),
    Case("a redirect", web(status=302), {STS: FAULT}, "answers 302 instead of 200"),
    Case("no document", web(status=404), {STS: FAULT}, "answers 404 instead of 200"),
    Case("an endless document", web(document=b"x" * 70_000), {STS: FAULT}, "longer than 65536 octets"),
    Case("a certificate for another name", shown("web", "brightpost.example"),
         {STS: FAULT}, "Hostname mismatch"),
    Case("a certificate of nobody's CA", shown("web", "mta-sts.brightpost.example", ca=authority("Other")),
         {STS: FAULT}, "does not verify"),
    Case("an expired certificate", shown("web", "mta-sts.brightpost.example", lasts=-timedelta(days=1)),
         {STS: FAULT}, "certificate has expired"),
    # TLSA
    Case("another key on port 25", shown("mail", "mx1.brightpost.example"),
         {SERVED: FAULT}, "no record fits"),
    Case("no STARTTLS", mail(offers=False), {SERVED: FAULT}, "offers no STARTTLS"),
    Case("a mail server that cannot start TLS", mail(starts=False),
         {SERVED: FAULT}, "answers 454 to STARTTLS"),
    Case("a mail server that is down", down(25), {SERVED: UNKNOWN}, "Connection refused"),
    Case("a mail server that does not talk to us", mail(greeting="554 no"), {SERVED: UNKNOWN}, "answers 554"),
    Case("no TLSA record", lacking(SIGNED, f"_25._tcp.{HOST} TLSA"),
         {("tlsa", HOST, "TLSA"): FAULT, record(f"_25._tcp.{HOST}", "TLSA"): FAULT}, "there is none"),
    # SPF and DMARC
    Case("an SPF policy without the address", instead(SIGNED, f"{SIGNED} TXT", '"v=spf1 -all"'),
         {SPF: FAULT, record(SIGNED, "SPF"): FAULT}, "should be pass, and is fail"),
    Case("an SPF policy that cannot be evaluated",
         instead(SIGNED, f"{SIGNED} TXT", '"v=spf1 include:x.nowhere.test -all"'),
         {SPF: UNKNOWN, record(SIGNED, "SPF"): FAULT}, "x.nowhere.test"),
    Case("a greeting name without a policy", lacking(SIGNED, f"{HOST} TXT"),
         {HELO: FAULT, record(HOST, "SPF"): FAULT}, "has no SPF record"),
    Case("no DMARC record", lacking(SIGNED, f"_dmarc.{SIGNED} TXT"),
         {STREAM: FAULT, record(f"_dmarc.{SIGNED}", "DMARC"): FAULT}, "receivers find none"),
    Case("neither SPF nor DKIM", together(instead(SIGNED, f"{SIGNED} TXT", '"v=spf1 -all"'), NO_KEY),
         {STREAM: FAULT, SPF: FAULT, record(SIGNED, "SPF"): FAULT, NO_KEY_RECORD: FAULT},
         "is by neither; p=reject"),
    # Blocklists
    Case("an address that is listed",
         holding(LISTS[0], f"{LISTED} 60 A 127.0.0.4", f'{LISTED} 60 TXT "see lists.example"'),
         {BY_ADDRESS: FAULT}, "(127.0.0.4): see lists.example"),
    Case("a domain that is listed", holding(LISTS[1], f"brightpost.example.{LISTS[1]} 60 A 127.0.1.2"),
         {BY_NAME[0]: FAULT}, "should not be listed"),
    Case("a list that refuses to be asked", holding(LISTS[0], f"{LISTED} 60 A 127.255.255.254"),
         {BY_ADDRESS: UNKNOWN}, "refuses to be asked"),
    Case("a list that refuses everything", instead(LISTS[0], f"2.0.0.127.{LISTS[0]} A", "127.255.255.252"),
         {BY_ADDRESS: UNKNOWN}, "refuses to be asked"),
    Case("a list that knows nothing, not even its test entry", lacking(LISTS[1], f"test.{LISTS[1]} A"),
         dict.fromkeys(BY_NAME, UNKNOWN), "does not even list its own test entry"),
    Case("a list that lists everybody", holding(LISTS[0], f"1.0.0.127.{LISTS[0]} 60 A 127.0.0.2"),
         {BY_ADDRESS: UNKNOWN}, "lists what no list may list"),
    Case("somebody else who answers for a list", holding(LISTS[0], f"{LISTED} 60 A 192.0.2.80"),
         {BY_ADDRESS: UNKNOWN}, "is no return code of a list"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.broken.replace(" ", "-"))
def test_exactly_this_verdict_turns_and_turns_back(fleet, case):
    with case.how(fleet):
        turned = fleet.turned()
    assert {key: v.state for key, v in turned.items()} == case.turned
    first = turned[next(iter(case.turned))]
    assert case.says in first.sentence
    assert bool(first.remedy) == (first.state is FAULT)
    assert not fleet.turned()


def test_a_secondary_that_follows_in_time_is_no_fault(fleet, monkeypatch):
    world = fleet.world

    def follow(_: float) -> None:
        world.secondary.control("zone-thaw", SIGNED)
        world.settle(SIGNED)

    monkeypatch.setattr(delegation, "GRACE", 30.0)
    monkeypatch.setattr(delegation, "time", SimpleNamespace(monotonic=time.monotonic, sleep=follow))
    with frozen_secondary(fleet):
        assert fleet.check("delegation")[SERIAL].state is OK


def test_an_include_that_nobody_answers_for_hides_nothing_but_itself(fleet):
    domains = tuple(
        d.model_copy(
            update={"spf": d.spf.model_copy(update={"include": ("x.nowhere.test.",), "flatten": True})}
        )
        if str(d.name) == PLAIN
        else d
        for d in fleet.site.fleet.domains
    )
    site = replace(fleet.site, fleet=fleet.site.fleet.model_copy(update={"domains": domains}))
    with _changed(fleet, site=site):
        turned = fleet.turned()
    assert {key: v.state for key, v in turned.items()} == {record(PLAIN, "SPF"): UNKNOWN}
    assert "x.nowhere.test." in turned[record(PLAIN, "SPF")].sentence


def test_without_an_anchor_nobody_knows_whether_a_pin_is_believed(fleet):
    machines = tuple(
        m.model_copy(update={"roles": {k: v for k, v in m.roles.items() if k != "unbound"}})
        for m in fleet.site.fleet.machines
    )
    site = replace(fleet.site, fleet=fleet.site.fleet.model_copy(update={"machines": machines}))
    with _changed(fleet, site=site):
        assert fleet.check("tlsa")[SECURED].state is UNKNOWN
        assert fleet.check("dnssec")[CHAIN].state is UNKNOWN


def test_all_is_well_where_nothing_is_broken(fleet):
    assert all_ok(fleet.well), [v for v in fleet.well.values() if v.state is not OK]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        (f"_smtp._tls.{SIGNED}", "TXT"),
        (f"_submissions._tcp.{SIGNED}", "SRV"),
        (f"click.{SIGNED}", "A"),
        (SIGNED, "CAA"),
        (f"util1.{SIGNED}", "MX"),
    ],
)
def test_a_record_of_any_kind_that_is_away_is_a_fault(fleet, name, type_):
    with lacking(SIGNED, f"{name} {type_}")(fleet):
        turned = fleet.turned()
    assert {key: v.state for key, v in turned.items()} == {record(name, type_): FAULT}
    assert "`mailwright dns apply`" in turned[record(name, type_)].remedy
