"""Verdicts have three values, and waiting ends when everybody serves the plan."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from maildns.asking.authority import AskError, Server, servers_of, wait_until_served, within_reach
from maildns.judging.check import State, check_fcrdns, check_mx_targets, check_rrset
from maildns.provider import Change
from maildns.records import RRset, rrset
from mailwright.world import has_route

ZONE = "example.org."
SPF = rrset(ZONE, "TXT", 300, ["v=spf1 -all"])


@dataclass(frozen=True)
class Fake(Server):
    """A server that says what it is told; silent where it is told nothing."""

    says: dict[tuple[str, str], list[str]] = field(default_factory=dict, hash=False)

    def ask(self, name: str, type_: str) -> frozenset[str]:
        if not self.says:
            raise AskError(f"{self} does not answer")
        return frozenset(self.says.get((name, type_), ()))


def fake(*sets: RRset, name: str = "ns1.example.org.") -> Fake:
    return Fake(name, "192.0.2.53", says={(ZONE, "SOA"): ["x"]} | {r.key: sorted(r.rdata) for r in sets})


SILENT = Fake("ns2.example.org.", "192.0.2.54")


def states(verdicts) -> list[State]:
    return [v.state for v in verdicts]


@pytest.mark.parametrize(
    ("servers", "state"),
    [
        ((fake(SPF),), State.OK),
        ((fake(SPF), fake(SPF)), State.OK),
        ((fake(SPF), SILENT), State.UNKNOWN),
        ((SILENT,), State.UNKNOWN),
        ((), State.UNKNOWN),
        ((fake(SPF), fake()), State.FAULT),
        ((fake(), SILENT), State.FAULT),
    ],
)
def test_the_worst_server_decides_and_silence_is_not_consent(servers, state):
    assert states(check_rrset(SPF, lambda _: servers)) == [state]


def test_who_cannot_be_found_is_unknown():
    def nobody(name: str) -> tuple[Server, ...]:
        raise AskError(f"nobody says which zone holds {name}")

    (verdict,) = check_rrset(SPF, nobody)
    assert (verdict.state, verdict.sentence) == (State.UNKNOWN, f"nobody says which zone holds {ZONE}")


def test_texts_of_others_are_no_fault_where_the_name_is_shared():
    world = fake(rrset(ZONE, "TXT", 300, ["v=spf1 -all", "verify=1"]))
    assert states(check_rrset(SPF, lambda _: (world,))) == [State.OK]
    dmarc = rrset(f"_dmarc.{ZONE}", "TXT", 300, ["v=DMARC1; p=none"])
    both = fake(rrset(dmarc.name, "TXT", 300, ["v=DMARC1; p=none", "verify=1"]))
    assert states(check_rrset(dmarc, lambda _: (both,))) == [
        State.OK
    ]  # receivers skip what is no DMARC record
    report = rrset(f"x.org._report._dmarc.{ZONE}", "TXT", 300, ["v=DMARC1"])
    assert states(check_rrset(report, lambda _: (fake(report),))) == [State.OK]


def test_an_mx_target_needs_one_address_of_either_kind():
    mx = rrset(ZONE, "MX", 300, [f"10 mail.{ZONE}"])
    six = rrset(f"mail.{ZONE}", "AAAA", 300, ["2001:db8::1"])
    assert states(check_mx_targets(mx, lambda _: (fake(six),))) == [State.OK]
    assert states(check_mx_targets(mx, lambda _: (fake(),))) == [State.FAULT]
    assert states(check_mx_targets(rrset(ZONE, "MX", 300, ["0 ."]), lambda _: (fake(),))) == []


@dataclass(frozen=True)
class Mute(Fake):
    """Silent about one type."""

    about: str = ""

    def ask(self, name: str, type_: str) -> frozenset[str]:
        if type_ == self.about:
            raise AskError(f"{self} does not answer")
        return super().ask(name, type_)


@pytest.mark.parametrize("about", ["A", "AAAA"])
def test_a_target_may_have_the_address_that_nobody_tells(about):
    mx = rrset(ZONE, "MX", 300, [f"10 mail.{ZONE}"])
    server = Mute("ns1.example.org.", "192.0.2.53", says=fake().says, about=about)
    assert states(check_mx_targets(mx, lambda _: (server,))) == [State.UNKNOWN]


def test_reverse_dns_is_forward_confirmed():
    host, reverse = f"mail.{ZONE}", "1.2.0.192.in-addr.arpa."
    back = rrset(reverse, "PTR", 300, [host])
    there = rrset(host, "A", 300, ["192.0.2.1"])

    def verdict(*sets: RRset) -> State:
        return check_fcrdns(host, "192.0.2.1", reverse, lambda _: (fake(*sets),)).state

    assert verdict(back, there) is State.OK
    assert verdict(there) is State.FAULT
    assert verdict(back) is State.FAULT
    assert verdict(rrset(reverse, "PTR", 300, ["x.example."]), there) is State.FAULT


def test_reverse_dns_may_be_an_alias_into_the_renters_zone():
    """RFC 2317: how fewer than 256 addresses are delegated."""
    host, reverse, own = f"mail.{ZONE}", "1.2.0.192.in-addr.arpa.", "1.0-63.2.0.192.in-addr.arpa."
    renter = fake(rrset(reverse, "CNAME", 300, [own]))
    there = rrset(host, "A", 300, ["192.0.2.1"])

    def judged(*names: str) -> list[State]:
        ours = fake(there, rrset(own, "PTR", 300, names) if names else there)
        world = {reverse: (renter,)}
        wanted = rrset(reverse, "PTR", 300, [host])
        fcrdns = check_fcrdns(host, "192.0.2.1", reverse, lambda name: world.get(name, (ours,)))
        return states([fcrdns, *check_rrset(wanted, lambda name: world.get(name, (ours,)))])

    assert judged(host) == [State.OK, State.OK]
    assert judged("x.example.") == [State.FAULT, State.FAULT]
    assert judged() == [State.FAULT, State.FAULT]
    circle = fake(rrset(reverse, "CNAME", 300, [reverse]))
    assert check_fcrdns(host, "192.0.2.1", reverse, lambda _: (circle,)).state is State.FAULT
    assert check_fcrdns(host, "192.0.2.1", reverse, lambda _: (SILENT,)).state is State.UNKNOWN


def test_the_servers_of_a_zone_are_its_provider_and_whoever_its_ns_records_name():
    ns = rrset(ZONE, "NS", 300, [f"ns1.{ZONE}", f"ns2.{ZONE}", "ns.example.net.", "gone.example.net."])
    glue = rrset(f"ns1.{ZONE}", "A", 300, ["192.0.2.53"])  # the provider itself, by another name
    glue2 = rrset(f"ns2.{ZONE}", "AAAA", 300, ["2001:db8::53"])
    elsewhere = {"ns.example.net.": ("192.0.2.99",)}
    found = servers_of(ZONE, fake(ns, glue, glue2), lambda name: elsewhere.get(name, ()))
    assert {s.address for s in found} == {"192.0.2.53", "2001:db8::53", "192.0.2.99"}


class Clock:
    """Time passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.then = lambda: None

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.then()


A = rrset(f"a.{ZONE}", "A", 300, ["192.0.2.1"])


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (Change(None, A, ""), fake(), fake(A)),
        (Change(A, None, ""), fake(A), fake()),
        (
            Change(A, rrset(A.name, "A", 300, ["192.0.2.2"]), ""),
            fake(A),
            fake(rrset(A.name, "A", 300, ["192.0.2.2"])),
        ),
        (Change(A, None, ""), fake(A), fake(rrset(A.name, "A", 300, ["192.0.2.77"]))),  # a wildcard answers
        (Change(None, A, ""), SILENT, fake(A)),
    ],
)
def test_waiting_ends_when_the_change_is_served(change, before, after):
    clock = Clock()
    says = dict(before.says)
    server = Fake("ns1.example.org.", "192.0.2.53", says=says)
    (missing,) = wait_until_served({server: [change]}, 0, clock=clock, pause=clock.pause)
    assert missing.key == A.key

    def change_the_world() -> None:
        if clock.now > 10:
            says.clear()
            says.update(after.says)

    clock.then = change_the_world
    assert wait_until_served({server: [change]}, 60, clock=clock, pause=clock.pause) == ()
    assert 10 < clock.now < 20


def test_waiting_ends_at_the_deadline_and_says_who_is_behind():
    clock = Clock()
    expected = {fake(A): [Change(None, A, "")], SILENT: [Change(None, A, "")]}
    (missing,) = wait_until_served(expected, 30, clock=clock, pause=clock.pause)
    assert (missing.server, missing.why) == (SILENT, "ns2.example.org (192.0.2.54) does not answer")
    assert clock.now == 30


def test_a_machine_without_ipv6_asks_servers_over_ipv4_and_only_those_that_have_no_other_address_in_vain():
    both4, both6 = Server("ns1.example.", "192.0.2.1"), Server("ns1.example.", "2001:db8::1")
    only6 = Server("ns2.example.", "2001:db8::2")
    servers = (both4, both6, only6)
    assert within_reach(servers, lambda address: ":" not in address) == (both4, only6)
    assert within_reach(servers, lambda _: True) == servers
    assert within_reach(servers, lambda _: False) == servers  # no network at all is nobody's fault but ours


def test_a_route_is_known_without_sending_anything():
    assert has_route("127.0.0.1")
    assert not has_route("not-an-address")
