"""What is peculiar to dynamic updates: keys, refusals, and servers that are not there."""

from __future__ import annotations

import time

import dns.exception
import dns.message
import dns.nameserver
import dns.query
import dns.resolver
import dns.rrset
import dns.tsigkeyring
import dns.xfr
import dns.zone
import pytest

from maildns.planning.plan import plan_zone
from maildns.provider import Change, ConflictError, ProviderError
from maildns.providers import transfer
from maildns.providers.rfc2136 import Rfc2136
from maildns.records import rrset


@pytest.fixture
def zone(knot):
    name = "plain0.example."  # read only, or given back as it was
    yield name
    knot.empty(name)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key_name": "stranger."}, "the key stranger. is not accepted"),
        ({"key": "d3Jvbmc="}, "the secret of the key all. is wrong"),
        ({"algorithm": "hmac-sha512"}, "all."),
        ({"key": "???"}, "not base64"),
        ({"port": 1}, "ConnectionRefusedError"),
    ],
)
def test_a_zone_that_cannot_be_read_is_one_line(knot, zone, changed, said):
    provider = knot.provider(**changed)
    with pytest.raises(ProviderError, match=said) as error:
        provider.fetch(zone)
    assert "\n" not in str(error.value)
    assert provider.key not in str(error.value)
    assert provider.key not in repr(provider)


def test_a_zone_that_the_server_does_not_hold(knot):
    with pytest.raises(ProviderError, match=r"reading nosuch.example\. at 127.0.0.1"):
        knot.provider().fetch("nosuch.example.")


def test_a_key_that_may_read_but_not_write(knot, zone):
    reader = knot.provider(key_name="reader.", key=knot.read_key)
    plan = plan_zone(reader.fetch(zone), [rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])], "us")
    with pytest.raises(ProviderError, match=r"the key reader\. is not accepted"):
        reader.apply(zone, plan.changes, plan.etag)


@pytest.mark.parametrize("lost", [dns.exception.Timeout(), EOFError(), ConnectionResetError(104, "reset")])
def test_an_update_whose_answer_is_lost_is_not_said_to_be_undone(knot, zone, monkeypatch, lost):
    provider = knot.provider()
    wanted = [rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])]
    plan = plan_zone(provider.fetch(zone), wanted, "us")
    send = dns.query.tcp

    def unanswered(*args: object, **options: object) -> None:
        send(*args, **options)
        raise lost

    monkeypatch.setattr(dns.query, "tcp", unanswered)
    with pytest.raises(ProviderError, match="whether it was done is not known, plan again") as error:
        provider.apply(zone, plan.changes, plan.etag)
    assert "\n" not in str(error.value)
    assert plan_zone(provider.fetch(zone), wanted, "us").changes == ()


def test_a_set_that_is_not_what_was_planned_from_is_a_conflict(knot, zone):
    provider = knot.provider()
    stale = rrset(f"ns.{zone}", "A", 3600, ["192.0.2.99"])
    with pytest.raises(ConflictError, match=r"ns\.plain0\.example\. A was changed"):
        provider.apply(zone, [Change(stale, None, "")], provider.fetch(zone).etag)


def test_what_the_signer_makes_is_not_the_zones_content(knot):
    types = {r.type for r in knot.provider().fetch("signed0.example.").rrsets}
    assert types <= {"NS", "A", "TXT"}


def test_a_set_too_large_for_a_message_is_told_beforehand(knot, zone):
    big = rrset(f"_b.{zone}", "TXT", 300, ["x" * 30000 + str(n) for n in range(2)])
    (sentence,) = knot.provider().audit([big, rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])])
    assert sentence.startswith(f"_b.{zone} TXT: too large")


def test_the_first_messages_stand_when_a_later_one_is_refused(knot, zone, monkeypatch):
    """The next plan is what is left, and what a stranger did meanwhile is not lost."""
    provider = knot.provider()
    wanted = [rrset(f"_k{n}.{zone}", "TXT", 300, ["y" * 20000]) for n in range(4)]
    plan = plan_zone(provider.fetch(zone), wanted, "us")
    send = Rfc2136._send
    sent = []

    def edited_meanwhile(*args: object) -> None:
        send(*args)
        if not sent:
            knot.target(zone).foreign(f'_k3.{zone} 300 TXT "theirs"')
        sent.append(args)

    monkeypatch.setattr(Rfc2136, "_send", edited_meanwhile)
    with pytest.raises(ProviderError, match=r"1 of 2 messages were taken before"):
        provider.apply(zone, plan.changes, plan.etag)
    left = plan_zone(provider.fetch(zone), wanted, "us")
    assert 0 < len(left.changes) < len(plan.changes)
    assert [c.key for c in left.conflicts] == [(f"_k3.{zone}", "TXT")]
    provider.apply(zone, left.changes, left.etag)
    assert [c.key for c in plan_zone(provider.fetch(zone), wanted, "us").conflicts] == [
        (f"_k3.{zone}", "TXT")
    ]


def test_a_reader_slower_than_the_servers_patience_still_gets_the_zone(knot, zone, monkeypatch):
    """knot hangs up on who does not take a message within half a second."""
    provider = knot.provider()
    wanted = [rrset(f"_k{n}.{zone}", "TXT", 300, ["y" * 30000]) for n in range(60)]
    plan = plan_zone(provider.fetch(zone), wanted, "us")
    provider.apply(zone, plan.changes, plan.etag)
    read = dns.message.from_wire

    def slow(*args: object, **options: object) -> dns.message.Message:
        if not slept:
            slept.append(True)
            time.sleep(1)
        return read(*args, **options)

    slept: list[bool] = []
    monkeypatch.setattr(transfer.dns.message, "from_wire", slow)
    assert plan_zone(provider.fetch(zone), wanted, "us").changes == ()
    assert slept


def test_an_edit_in_the_moment_between_reading_and_writing_is_a_conflict(knot, zone, monkeypatch):
    """The server itself compares: the SOA is a prerequisite of the update."""
    provider = knot.provider()
    plan = plan_zone(provider.fetch(zone), [rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])], "us")
    compose = Rfc2136._message

    def edited_meanwhile(*args: object) -> object:
        message = compose(*args)
        knot.target(zone).foreign(f"b.{zone} 300 A 192.0.2.2")
        return message

    monkeypatch.setattr(Rfc2136, "_message", edited_meanwhile)
    with pytest.raises(ConflictError, match="changed by somebody else"):
        provider.apply(zone, plan.changes, plan.etag)
    assert {r.name for r in provider.fetch(zone).rrsets} == {zone, f"ns.{zone}", f"b.{zone}"}


def test_a_signer_that_moves_the_serial_changes_nothing_for_us(knot, zone, monkeypatch):
    """Before the apply, and again in the moment before the update."""
    provider = knot.provider()
    wanted = [rrset(f"a.{zone}", "A", 300, ["192.0.2.1"])]
    plan = plan_zone(provider.fetch(zone), wanted, "us")
    compose = Rfc2136._message
    moves = []

    def signed_meanwhile(*args: object) -> object:
        message = compose(*args)
        if len(moves) < 2:
            moves.append(args)
            soa = dns.resolver.Resolver(configure=False)
            soa.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", knot.port)]
            rname = soa.resolve(zone, "SOA")[0]
            knot.target(zone).foreign(f"{zone} 3600 SOA {rname.replace(serial=rname.serial + 1)}")
        return message

    signed_meanwhile(provider, zone, provider._transfer(zone), ())
    monkeypatch.setattr(Rfc2136, "_message", signed_meanwhile)
    provider.apply(zone, plan.changes, plan.etag)
    assert len(moves) == 2
    assert plan_zone(provider.fetch(zone), wanted, "us").changes == ()


def test_a_transfer_must_be_signed_to_its_end(zone):
    content = dns.zone.Zone(zone, relativize=False)
    keyring = dns.tsigkeyring.from_text({"all.": "c2VjcmV0"})
    query, _ = dns.xfr.make_query(content, serial=None, keyring=keyring)
    query.to_wire()
    answer = dns.message.make_response(query)
    soa = dns.rrset.from_text(zone, 300, "IN", "SOA", f"ns.{zone} host.{zone} 1 1 1 1 1")
    answer.answer += [soa, dns.rrset.from_text(zone, 300, "IN", "NS", f"ns.{zone}"), soa]
    answer.tsig = None
    with pytest.raises(dns.exception.FormError, match="missing TSIG"):
        transfer._take(content, query, iter([answer.to_wire(max_size=65535)]))
