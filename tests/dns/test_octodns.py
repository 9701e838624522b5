"""The adapter for octoDNS: what it promises beyond the contract, on PowerDNS and on stubborn providers."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from octodns.provider.base import BaseProvider
from octodns.record import Record
from octodns.zone import Zone

from maildns.errors import RecordError
from maildns.planning.plan import plan_zone
from maildns.provider import Change, ConflictError, ProviderError
from maildns.providers import octodns_adapter
from maildns.providers.octodns_adapter import Octodns
from maildns.providers.octodns_records import PLAIN, PRESENTATION, is_opaque, record_of, rrset_of
from maildns.records import rrset
from mailwright.model import providers as model
from mailwright.model.secrets import GivenSecrets
from mailwright.providers import _open

ZONE = "stub.example."
HERE = f"{__name__}."


class Stub(BaseProvider):
    """A provider in memory that does what a test tells it to."""

    SUPPORTS_GEO = True
    SUPPORTS_DYNAMIC = True
    SUPPORTS_ROOT_NS = False
    SUPPORTS_MULTIVALUE_PTR = False
    SUPPORTS = frozenset({"A", "AAAA", "MX", "TXT", "PTR", "NS", "ALIAS", "URLFWD", "SRV"})

    zones: dict[str, list[tuple[str, dict]]] = {}  # noqa: RUF012 - reset by the fixture
    calls: list[list[str]] = []  # noqa: RUF012
    trouble = ""

    def __init__(self, id, token, **options):  # noqa: A002 - octoDNS's name
        self.log = logging.getLogger(f"Stub[{id}]")
        self.log.warning("a warning nobody asked for")
        super().__init__(id, **options)
        self.token = token

    def populate(self, zone, target=False, lenient=False):  # noqa: ARG002
        if self.trouble == "reading":
            raise RuntimeError(f"401 for\nhttps://api.example/?token={self.token}")
        if zone.name not in self.zones:
            return False
        for name, data in self.zones[zone.name]:
            zone.add_record(Record.new(zone, name, data, source=self, lenient=lenient), lenient=lenient)
        return True

    def _process_desired_zone(self, desired):
        for record in list(desired.records):
            if self.trouble == "bends" and record.ttl < 3600:
                slow = record.copy()
                slow.ttl = 3600
                desired.add_record(slow, replace=True)
        return super()._process_desired_zone(desired)

    def _apply(self, plan):
        self.calls.append([type(c).__name__ + " " + c.record.fqdn for c in plan.changes])
        if self.trouble == "forgets":
            return
        if self.trouble == "writing":
            raise RuntimeError(f"refused, {self.token}")
        table = {(n, d["type"]): (n, d) for n, d in self.zones[plan.desired.name]}
        for change in plan.changes:
            table.pop((change.record.name, change.record._type), None)
            if change.new:
                data = change.new.data | {"type": change.new._type}
                table[change.new.name, change.new._type] = (change.new.name, data)
        self.zones[plan.desired.name] = list(table.values())


@pytest.fixture
def stub(monkeypatch):
    zones = {ZONE: [("", {"type": "NS", "ttl": 60, "values": ["ns1.stub.example.", "ns2.stub.example."]})]}
    monkeypatch.setattr(Stub, "zones", zones)
    monkeypatch.setattr(Stub, "calls", [])
    monkeypatch.setattr(octodns_adapter, "provider_class", lambda _: Stub)
    return zones[ZONE]


def adapter(**options) -> Octodns:
    return Octodns("stub.Stub", options, {"token": "hunter2"}, settle=0)


def publish(provider: Octodns, *wanted, **choices) -> None:
    plan = plan_zone(provider.fetch(ZONE), wanted, "us", **choices)
    assert not plan.blocked, plan
    provider.apply(ZONE, plan.changes, plan.etag)


A = rrset(f"a.{ZONE}", "A", 300, ["192.0.2.1"])
POOLS = {"pools": {"one": {"values": [{"value": "192.0.2.9"}]}}, "rules": [{"pool": "one"}]}


def test_a_record_and_its_marker_go_in_one_call_and_the_apex_ns_is_not_touched(stub):
    publish(adapter(), A)
    (call,) = Stub.calls
    assert call[0] == "Create " + A.name or call[1] == "Create " + A.name
    assert len(call) == 2
    assert ("", {"type": "NS", "ttl": 60, "values": ["ns1.stub.example.", "ns2.stub.example."]}) in stub


@pytest.mark.parametrize(
    "beyond",
    [
        {"type": "A", "dynamic": POOLS},
        {"type": "A", "geo": {"EU": ["192.0.2.7"]}},
        {"type": "A", "octodns": {"healthcheck": {"protocol": "HTTP"}}},
    ],
    ids=["dynamic", "geo", "healthcheck"],
)
def test_a_record_that_does_more_than_we_can_say_is_foreign_and_never_touched(stub, beyond):
    stub.append(("a", {"ttl": 300, "value": "192.0.2.1"} | beyond))
    provider = adapter()
    snapshot = provider.fetch(ZONE)
    (seen,) = [r for r in snapshot.rrsets if r.key == A.key]
    assert is_opaque(seen)
    plan = plan_zone(snapshot, [A], "us")
    assert [(c.key, c.adoptable) for c in plan.conflicts] == [(A.key, False)]
    with pytest.raises(RecordError, match="which cannot be adopted"):
        plan_zone(snapshot, [A], "us", adopt={A.key})
    with pytest.raises(ProviderError, match="Nothing was done"):
        provider.apply(ZONE, [Change(seen, A, "", unit=A.name)], snapshot.etag)
    assert Stub.calls == []


def test_a_text_set_that_does_more_is_not_added_to(stub):
    text = {"type": "TXT", "ttl": 60, "value": "theirs", "octodns": {"healthcheck": {"protocol": "HTTP"}}}
    stub.append(("host", text))
    wanted = rrset(f"host.{ZONE}", "TXT", 300, ["v=spf1 a -all"])
    (conflict,) = plan_zone(adapter().fetch(ZONE), [wanted], "us").conflicts
    assert conflict.sentence == "is a health-checked record, which is not ours to change"


@pytest.mark.parametrize(
    ("made", "fate"),
    [(0, "nothing was done, plan again"), (1, "1 of 4 sets are as sent, plan again"), (4, "")],
)
def test_a_provider_that_fails_on_the_way_is_read_to_see_how_far_it_came(stub, monkeypatch, made, fate):
    """Many make a request for each record; where all were made, a lost answer is no error."""
    wanted = [A, rrset(f"b.{ZONE}", "A", 300, ["192.0.2.2"])]
    plan = plan_zone(adapter().fetch(ZONE), wanted, "us")

    def fail_after(_, plan):
        for change in plan.changes[:made]:
            stub.append((change.new.name, change.new.data | {"type": change.new._type}))
        raise RuntimeError("timed out")

    monkeypatch.setattr(Stub, "_apply", fail_after)
    if not fate:
        adapter().apply(ZONE, plan.changes, plan.etag)
        return
    with pytest.raises(ProviderError, match=f"timed out; {fate}"):
        adapter().apply(ZONE, plan.changes, plan.etag)


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(
    ("lost", "said"), [(False, "was changed, but is not seen"), (True, "what was done is not known")]
)
def test_a_provider_that_is_gone_after_writing_is_not_said_to_have_done_nothing(monkeypatch, lost, said):
    plan = plan_zone(adapter().fetch(ZONE), [A], "us")
    real = Stub._apply

    def apply(self, plan):
        real(self, plan)
        monkeypatch.setattr(Stub, "trouble", "reading")
        if lost:
            raise RuntimeError("timed out")

    monkeypatch.setattr(Stub, "_apply", apply)
    with pytest.raises(ProviderError, match=said):
        adapter().apply(ZONE, plan.changes, plan.etag)


def test_a_zone_that_was_not_read_whole_is_not_written_by_who_may_write_it_whole(stub, monkeypatch):
    real = Stub.populate

    def populate(self, zone, target=False, lenient=False):
        if "URLFWD" in self.SUPPORTS:
            raise ValueError("an odd URLFWD")
        return real(self, zone, target, lenient)

    monkeypatch.setattr(Stub, "populate", populate)
    before = list(stub)
    plan = plan_zone(adapter().fetch(ZONE), [A], "us")
    with pytest.raises(ProviderError, match=r"holds a record that stub\.Stub cannot read.* Nothing was done"):
        adapter().apply(ZONE, plan.changes, plan.etag)
    assert (Stub.calls, Stub.zones[ZONE]) == ([], before)
    monkeypatch.setattr(octodns_adapter, "_SET_BY_SET", {"stub"})
    adapter().apply(ZONE, plan.changes, plan.etag)


def test_types_that_only_the_provider_knows_are_opaque_and_in_nobodys_way(stub):
    stub += [
        ("", {"type": "ALIAS", "ttl": 60, "value": "cdn.example.net."}),
        (
            "go",
            {
                "type": "URLFWD",
                "ttl": 60,
                "value": {"path": "/", "target": "x", "code": 301, "masking": 0, "query": 0},
            },
        ),
        ("odd", {"type": "MX", "ttl": 60, "value": {"preference": 10, "exchange": "no-dot"}}),
    ]
    before = list(stub)
    publish(adapter(), A)
    for record in before:
        assert record in Stub.zones[ZONE]
    snapshot = adapter().fetch(ZONE)
    assert {r.type for r in snapshot.rrsets if is_opaque(r)} == {"ALIAS", "URLFWD", "MX"}


def test_what_the_provider_keeps_about_a_shared_set_survives_our_edit_of_it(stub):
    values = ['say \\"hi\\"', "un; escaped"]
    stub.append(("", {"type": "TXT", "ttl": 60, "values": values, "octodns": {"stub": {"tag": 1}}}))
    publish(adapter(), rrset(ZONE, "TXT", 60, ["v=spf1 a -all"]))
    (held,) = [d for n, d in Stub.zones[ZONE] if (n, d["type"]) == ("", "TXT")]
    assert held["values"] == [*values, "v=spf1 a -all"]
    assert held["octodns"] == {"stub": {"tag": 1}}


def test_an_edit_after_planning_is_a_conflict_even_where_the_plan_does_not_go(stub):
    provider = adapter()
    plan = plan_zone(provider.fetch(ZONE), [A], "us")
    stub.append(("elsewhere", {"type": "A", "ttl": 60, "value": "192.0.2.2"}))
    with pytest.raises(ConflictError, match="plan again"):
        provider.apply(ZONE, plan.changes, plan.etag)
    assert Stub.calls == []


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("reading", "RuntimeError: 401 for https://api.example/?token=***"),
        ("writing", "changing stub.example.: RuntimeError: refused, ***; nothing was done, plan again"),
        ("bends", "would write"),
        ("forgets", "a.stub.example. A holds nothing (2 of 2 sets are not as sent); plan again"),
    ],
)
@pytest.mark.usefixtures("stub")
def test_trouble_at_the_provider_is_one_line_without_its_secrets(monkeypatch, trouble, said):
    plan = plan_zone(adapter().fetch(ZONE), [A], "us")
    monkeypatch.setattr(Stub, "trouble", trouble)
    with pytest.raises(ProviderError) as caught:
        adapter().apply(ZONE, plan.changes, plan.etag)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value) + repr(adapter())


@pytest.mark.usefixtures("stub")
def test_a_provider_that_shows_its_changes_late_is_waited_for(monkeypatch):
    late = iter([True, True, False])
    real = Stub.populate
    plan = plan_zone(adapter().fetch(ZONE), [A], "us")

    def populate(self, zone, target=False, lenient=False):
        if Stub.calls and next(late, False):
            return True  # still nothing in it
        return real(self, zone, target, lenient)

    monkeypatch.setattr(Stub, "populate", populate)
    waits = []
    clock = iter(range(100))
    provider = Octodns(
        "stub.Stub", {}, {"token": "x"}, settle=10, clock=lambda: next(clock), pause=waits.append
    )
    provider.apply(ZONE, plan.changes, plan.etag)
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"apply_disabled": True}, "apply_disabled is set"),
        ({"colour": "blue"}, "unexpected keyword argument 'colour'"),
    ],
)
@pytest.mark.usefixtures("stub")
def test_options_that_cannot_be_meant_are_one_line(options, said):
    with pytest.raises(ProviderError, match=said):
        adapter(**options).fetch(ZONE)


@pytest.mark.usefixtures("stub")
def test_no_zone_is_ever_made():
    with pytest.raises(ProviderError, match=r"holds no zone other\.example\."):
        adapter().fetch("other.example.")


@pytest.mark.usefixtures("stub")
def test_the_audit_says_what_the_class_does_not_support():
    def audit(*arguments):
        return adapter().audit([rrset(*arguments)])

    assert audit(f"x.{ZONE}", "CAA", 60, ['0 issue ";"']) == (
        f"x.{ZONE} CAA: stub.Stub does not support the type",
    )
    two = audit(f"x.{ZONE}", "PTR", 60, ["a.example.", "b.example."])
    assert two == (f"x.{ZONE} PTR: stub.Stub holds one PTR at a name",)
    assert "octoDNS" in audit(f"x.{ZONE}", "TXT", 60, ['a "quoted" word'])[0]
    assert "SRV" in audit(f"no-srv-name.{ZONE}", "SRV", 60, ["0 0 1 x.example."])[0]
    assert audit(ZONE, "TXT", 60, ["v=DKIM1; k=rsa; p=" + "A" * 400]) == ()


def test_octodns_says_nothing_on_standard_error_unless_somebody_listens():
    """Python prints warnings of loggers that nobody has set up."""
    code = (
        f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
        "from tests.dns import test_octodns as t; from maildns.providers import octodns_adapter as o\n"
        "o.provider_class = lambda _: t.Stub\n"
        "odd = {'type': 'MX', 'ttl': 1, 'value': {'preference': 1, 'exchange': 'y'}}\n"
        "t.Stub.zones = {t.ZONE: [('x', odd)]}\n"
        "t.adapter().fetch(t.ZONE)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Invalid record" not in done.stderr


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("octodns_nowhere.NowhereProvider", "pip install 'mailwright[octodns]' octodns-nowhere"),
        ("octodns.provider.yaml.Yaml", "octodns.provider.yaml has no octoDNS provider Yaml"),
        ("json.JSONDecoder", "json has no octoDNS provider JSONDecoder"),
    ],
)
def test_a_class_that_is_not_there_is_one_line_with_the_way_out(provider, said):
    with pytest.raises(ProviderError) as caught:
        Octodns(provider).fetch(ZONE)
    assert said in str(caught.value)


def test_without_octodns_the_fleet_file_still_loads_and_its_use_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "maildns.providers.octodns_adapter", None)
    where = model.Octodns(
        type="octodns", provider="octodns_gandi.GandiProvider", secrets={"token": "dns/gandi"}
    )
    with pytest.raises(Exception, match=r"pip install 'mailwright\[octodns\]' octodns-gandi"):
        _open(where, GivenSecrets({"dns/gandi": "x"}))


EVERY_TYPE = [
    ("A", "192.0.2.1"),
    ("AAAA", "2001:db8::1"),
    ("CAA", '128 issuewild "ca.example.net; account=1"'),
    ("CNAME", "x.example.net."),
    ("DNAME", "x.example.net."),
    ("DS", "1 13 4 " + "ab" * 48),
    ("HTTPS", '1 . alpn="h2,h3" port="8443" ipv4hint="192.0.2.1"'),
    ("LOC", "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m"),
    ("LOC", "52 22 23.000 S 4 53 32.000 W 10.00m"),
    ("MX", "0 ."),
    ("NAPTR", '100 10 "U" "E2U+sip" "!^.*$!sip:info@example.net!" .'),
    ("NS", "ns.example.net."),
    ("OPENPGPKEY", "AAAA" * 60),
    ("PTR", "x.example.net."),
    ("SRV", "0 1 465 mail.example.net."),
    ("SSHFP", "4 2 " + "ab" * 32),
    ("SVCB", "0 alias.example.net."),
    ("TLSA", "3 1 1 " + "ab" * 32),
    ("TLSA", "3 0 0 " + "ab" * 700),
    ("URI", '10 1 "https://example.net/"'),
    ("TXT", "v=DKIM1; k=rsa; p=" + "A" * 700),
    ("TXT", ""),
]


@pytest.mark.parametrize(("type_", "value"), EVERY_TYPE, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("dialect", [PLAIN, PRESENTATION])
def test_every_type_goes_over_and_comes_back(type_, value, dialect):
    here = rrset(f"_name._tcp.{ZONE}", type_, 300, [value])
    there = record_of(here, Zone(ZONE, []), dialect)
    assert rrset_of(there, dialect) == here


@pytest.mark.parametrize(
    "text", ['"', "\\", '\\"', ";", "\\;", '" "', '"a" "b"', " a ", "\x00\x7f", "ü", "\udcff"]
)
def test_presentation_format_holds_every_octet(text):
    assert PRESENTATION.decode(PRESENTATION.encode(text)) == text
    assert PRESENTATION.encode(text).isascii()
    assert PRESENTATION.fault(text) == ""


def test_lua_and_whatever_else_powerdns_holds_is_seen_and_left(powerdns_target, powerdns):
    zone = powerdns_target.zone
    powerdns_target.foreign(
        f"""lua.{zone} 60 LUA A "ifportup(443, {{'192.0.2.1'}})\"""",
        f'naptr.{zone} 60 NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info desk@example.net!" .',
        f"loc.{zone} 60 LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m",
        f"svc.{zone} 60 HTTPS 1 . alpn=h2,h3",
        f'caa.{zone} 60 CAA 0 issue "x; y=\\"z\\""',
        f"0/25.{zone} 60 A 192.0.2.2",
        f'hinfo.{zone} 60 HINFO "x" "y"',
        f"apex.{zone} 60 ALIAS cdn.example.net.",
    )
    foreign = powerdns.held(zone)
    publish_at(powerdns_target, rrset(f"a.{zone}", "A", 300, ["192.0.2.1"]))
    after = powerdns.held(zone)
    assert {k: v for k, v in after.items() if k in foreign and k[1] != "SOA"} == {
        k: v for k, v in foreign.items() if k[1] != "SOA"
    }
    seen = {r.key: r for r in powerdns_target.provider.fetch(zone).rrsets}
    assert is_opaque(seen[f"apex.{zone}", "ALIAS"])
    assert (f"lua.{zone}", "PowerDnsProvider/LUA") in seen


def test_a_record_that_octodns_cannot_read_stops_nobody(powerdns_target, powerdns):
    zone = powerdns_target.zone
    powerdns_target.foreign(
        f'uri.{zone} 60 URI 10 1 "https://example.net/a b"',
        f'svc.{zone} 60 HTTPS 1 . ech="AAAA"',
        f"x.{zone} 60 MX 10 mail.example.net.",
    )
    foreign = powerdns.held(zone)["uri." + zone, "URI"]
    wanted = rrset(f"uri.{zone}", "A", 300, ["192.0.2.1"])
    publish_at(powerdns_target, wanted)
    snapshot = powerdns_target.provider.fetch(zone)
    assert {wanted.key, (f"x.{zone}", "MX")} <= {r.key for r in snapshot.rrsets}
    assert powerdns.held(zone)["uri." + zone, "URI"] == foreign


def publish_at(target, *wanted) -> None:
    plan = plan_zone(target.provider.fetch(target.zone), wanted, "us")
    target.provider.apply(target.zone, plan.changes, plan.etag)


def test_a_serial_moves_with_each_apply_where_the_zone_says_so(powerdns_target, powerdns):
    zone = powerdns_target.zone
    before = powerdns.api("GET", f"zones/{zone}")["serial"]
    publish_at(powerdns_target, rrset(f"a.{zone}", "A", 300, ["192.0.2.1"]))
    assert powerdns.api("GET", f"zones/{zone}")["serial"] > before


def test_powerdns_refuses_a_cname_beside_what_octodns_does_not_see_and_nothing_is_done(
    powerdns_target, powerdns
):
    zone = powerdns_target.zone
    powerdns_target.foreign(f'x.{zone} 60 HINFO "a" "b"')
    before = powerdns.held(zone)
    wanted = [
        rrset(f"x.{zone}", "CNAME", 300, ["y.example.net."]),
        rrset(f"a.{zone}", "A", 300, ["192.0.2.1"]),
    ]
    with pytest.raises(ProviderError, match="422"):
        publish_at(powerdns_target, *wanted)
    assert powerdns.held(zone) == before


@pytest.mark.parametrize(
    ("options", "said"), [({"port": 1}, "ConnectionError"), ({"server_id": "nowhere"}, "404")]
)
def test_a_powerdns_that_does_not_answer_is_one_line_without_its_key(powerdns, options, said):
    provider = powerdns.provider(**options)
    with pytest.raises(ProviderError) as caught:
        provider.fetch("powerdns1.example.")
    assert said in str(caught.value)
    wrong = Octodns(provider.provider, provider.options, {"api_key": "wrong-key"})
    with pytest.raises(ProviderError) as caught:
        wrong.fetch("powerdns1.example.")
    assert "wrong-key" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_change_of_nothing_asks_nobody():
    Octodns("octodns_nowhere.Provider").apply(ZONE, [], "")
