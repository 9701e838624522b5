"""What is peculiar to Route 53: its limits, its own kinds of sets, its queues, and answers that are lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.route53.models import route53_backends

from maildns.errors import RecordError
from maildns.ownership import is_marker_name
from maildns.plan import ZonePlan, plan_zone
from maildns.provider import Change, ConflictError, ProviderError
from maildns.records import RRset, rrset
from maildns.route53 import Route53
from mailwright.command import dns as command
from mailwright.command.main import run
from mailwright.model.load import load_site
from mailwright.model.role import Role, Settings
from tests.dns.amazon import Fault
from tests.dns.cases import dkim_text
from tests.dns.route53 import Hand, target_at

CHANGE, LIST, ZONES = "ChangeResourceRecordSets", "ListResourceRecordSets", "ListHostedZones"


@pytest.fixture
def target(amazon):
    return target_at(amazon)


@pytest.fixture
def hand(amazon, target):
    """Somebody else, who makes sets that records cannot express."""
    somebody = Hand(amazon)
    somebody.ids[target.zone] = next(i for i, z in amazon.zones.items() if z.name == target.zone)
    return somebody


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """boto3 sleeps between attempts; here only the number of attempts matters."""
    slept: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=slept.append))
    monkeypatch.setattr("botocore.retries.bucket.TokenBucket.acquire", lambda *_, **__: True)
    return slept


def planned(target, *desired: RRset):
    return plan_zone(target.provider.fetch(target.zone), desired, "us")


def apply(target, *desired: RRset) -> None:
    plan = planned(target, *desired)
    assert not plan.blocked, plan
    target.provider.apply(target.zone, plan.changes, plan.etag)
    assert planned(target, *desired).changes == ()


def an_a(target, name: str = "a", value: str = "192.0.2.1") -> RRset:
    return rrset(f"{name}.{target.zone}", "A", 300, [value])


def texts(target, count: int, size: int, letter: str = "y") -> list[RRset]:
    return [rrset(f"_k{n}.{target.zone}", "TXT", 300, [letter * size]) for n in range(count)]


# Sets that are more than records


ALIAS = {"AliasTarget": {"HostedZoneId": "ZELB", "DNSName": "lb.example.net.", "EvaluateTargetHealth": False}}
POLICIES = [
    {"Weight": 1},
    {"Region": "eu-west-1"},
    {"GeoLocation": {"CountryCode": "DE"}},
    {"Failover": "PRIMARY"},
    {"MultiValueAnswer": True},
]


def simple(name: str, type_: str = "A", value: str = "192.0.2.9", **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": type_, "TTL": 60, "ResourceRecords": [{"Value": value}], **more}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: next(iter(p)))
def test_a_set_with_a_routing_policy_is_a_conflict_where_we_want_one_and_is_never_touched(
    target, hand, policy
):
    name = f"a.{target.zone}"
    hand.change(target.zone, "CREATE", simple(name, SetIdentifier="first", **policy))
    before = hand.sets(target.zone)
    (conflict,) = planned(target, an_a(target)).conflicts
    assert conflict.key == (name, "A")
    assert "a set with a routing policy (first)" in conflict.sentence
    assert not conflict.adoptable
    with pytest.raises(RecordError, match="cannot be adopted"):
        plan_zone(target.provider.fetch(target.zone), [an_a(target)], "us", adopt={(name, "A")})
    apply(target, rrset(name, "TXT", 300, ["v=spf1 -all"]))  # beside it, we may
    apply(target)
    assert hand.sets(target.zone) == before


def test_an_alias_at_the_apex_stays_and_our_records_lie_beside_it(target, hand):
    zone = target.zone
    hand.change(zone, "CREATE", {"Name": zone, "Type": "A", **ALIAS})
    before = hand.sets(zone)
    mx = rrset(zone, "MX", 300, [f"10 mail.{zone}"])
    apply(target, mx)
    (conflict,) = planned(target, mx, rrset(zone, "A", 300, ["192.0.2.1"])).conflicts
    assert "is an alias of lb.example.net., which is not ours to change" in conflict.sentence
    plan = plan_zone(target.provider.fetch(zone), [], "us", allow={f"last-mx={zone}"})
    target.provider.apply(zone, plan.changes, plan.etag)
    assert hand.sets(zone) == before


def test_an_alias_in_the_way_of_a_cname_cannot_be_adopted(target, hand):
    name = f"www.{target.zone}"
    hand.change(target.zone, "CREATE", {"Name": name, "Type": "A", **ALIAS})
    (conflict,) = planned(target, rrset(name, "CNAME", 300, ["elsewhere.example.net."])).conflicts
    assert (conflict.key, conflict.adoptable) == ((name, "A"), False)


def test_a_text_set_with_a_routing_policy_is_not_added_to(target, hand):
    name = f"mail.{target.zone}"
    more = {"SetIdentifier": "first", "MultiValueAnswer": True}
    hand.change(target.zone, "CREATE", simple(name, "TXT", '"printer-room=3"', **more))
    assert [c.key for c in planned(target, rrset(name, "TXT", 300, ["v=spf1 -all"])).conflicts] == [
        (name, "TXT")
    ]


def test_our_record_that_somebody_made_an_alias_is_let_go_and_the_alias_stays(target, hand):
    apply(target, an_a(target))
    name = f"a.{target.zone}"
    hand.change(target.zone, "DELETE", simple(name, value="192.0.2.1", TTL=300))
    hand.change(target.zone, "CREATE", {"Name": name, "Type": "A", **ALIAS})
    before = hand.sets(target.zone)[name, "A"]
    apply(target)
    assert hand.sets(target.zone)[name, "A"] == before


def test_apply_refuses_an_opaque_set_whoever_asks(target, hand, amazon):
    hand.change(target.zone, "CREATE", {"Name": f"a.{target.zone}", "Type": "A", **ALIAS})
    snapshot = target.provider.fetch(target.zone)
    old = next(r for r in snapshot.rrsets if r.name.startswith("a."))
    amazon.calls.clear()
    with pytest.raises(ProviderError, match=r"an alias of lb\.example\.net\., which is never touched"):
        target.provider.apply(target.zone, [Change(old, an_a(target), "")], snapshot.etag)
    assert amazon.calls[CHANGE] == 0


def test_values_that_cannot_be_read_are_somebody_elses(target, amazon):
    zone = next(z for z in amazon.zones.values() if z.name == target.zone)
    zone.add_rrset({"Name": f"odd.{target.zone}", "Type": "MX", "TTL": 60, "ResourceRecords": ["nonsense"]})
    (conflict,) = planned(target, rrset(f"odd.{target.zone}", "MX", 300, ["0 ."])).conflicts
    assert "a set whose values cannot be read" in conflict.sentence
    apply(target, an_a(target))


# Spelling


def test_names_come_and_go_in_octal_and_values_without_their_last_dot_are_absolute(target, hand):
    zone = target.zone
    odd = rf"a\032b\@\046c.{zone}"
    wanted = [
        rrset(f"*.click.{zone}", "CNAME", 300, [rf"x\.y\255.{zone}"]),
        rrset(odd, "CAA", 300, ['0 issue "ca.example; a=\\"b\\\\\\001"']),
    ]
    apply(target, *wanted)
    held = hand.sets(zone)
    assert held[f"\\052.click.{zone}", "CNAME"]["ResourceRecords"] == [{"Value": rf"x\056y\377.{zone}"}]
    (caa,) = (each for (_, type_), each in held.items() if type_ == "CAA")
    assert caa["Name"] == rf"a\040b\100\056c.{zone}"
    assert caa["ResourceRecords"] == [{"Value": r'0 issue "ca.example; a=\"b\\\001"'}]
    table = {r.key: r for r in target.provider.fetch(zone).rrsets}
    assert all(table[r.key] == r for r in wanted)
    hand.change(zone, "CREATE", simple(f"x.{zone}", "MX", "10 Mail.Example.NET"))
    table = {r.key: r for r in target.provider.fetch(zone).rrsets}
    assert table[f"x.{zone}", "MX"].rdata == {"10 mail.example.net."}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ('"a" "b"', "ab"),
        ('"a""b"', "ab"),
        ("bare", "bare"),
        (r'"\303\274 \101\\101"', r"ü A\101"),
        (r'"\042\"\;"', '"";'),
    ],
)
def test_a_text_is_read_in_every_form_that_amazon_lists(target, amazon, typed, meant):
    zone = next(z for z in amazon.zones.values() if z.name == target.zone)
    zone.add_rrset({"Name": f"_t.{target.zone}", "Type": "TXT", "TTL": 60, "ResourceRecords": [typed]})
    table = {r.key: r for r in target.provider.fetch(target.zone).rrsets}
    assert table[f"_t.{target.zone}", "TXT"].rdata == {meant}


def test_what_route_53_cannot_hold_is_said_beforehand():
    provider = Route53()
    cases = {
        "no records of type SMIMEA": rrset("a.example.", "SMIMEA", 1, ["3 1 1 " + "00" * 32]),
        "401 values; Route 53 holds 400": rrset(
            "a.example.", "A", 1, [f"10.0.{n // 250}.{n % 250}" for n in range(401)]
        ),
        "4001 characters as it is sent": rrset("a.example.", "TXT", 1, ["x" * (4001 - 16 * 2 - 15)]),
        "one request of Route 53 takes 32000": rrset(
            "a.example.", "TXT", 1, ["x" * 3000 + str(n) for n in range(11)]
        ),
        "no wildcard for NS": rrset("*.example.", "NS", 1, ["ns.example.net."]),
    }
    for said, each in cases.items():
        (sentence,) = provider.audit([each])
        assert sentence.startswith(f"{each.name} {each.type}: ")
        assert said in sentence
    assert provider.audit([rrset("a.example.", "TXT", 1, ["x" * (4000 - 16 * 2 - 15)])]) == ()


# Limits


def test_batches_are_as_full_as_the_characters_allow(target, amazon):
    many = [an_a(target, f"n{n}") for n in range(600)]  # each with its marker, some 90 characters
    plan = planned(target, *many)
    amazon.calls.clear()
    amazon.largest = (0, 0)
    target.provider.apply(target.zone, plan.changes, plan.etag)
    assert amazon.calls == {LIST: 1, CHANGE: 2}
    assert 31_900 < amazon.largest[1] <= 32_000
    assert planned(target, *many).changes == ()


def test_batches_are_as_full_as_the_number_of_values_allows(target, amazon):
    def sixty(ttl: int) -> list[RRset]:
        ips = [f"192.0.2.{n}" for n in range(60)]
        return [rrset(f"n{n}.{target.zone}", "A", ttl, ips) for n in range(20)]

    apply(target, *sixty(300))
    plan = planned(target, *sixty(600))
    amazon.calls.clear()
    amazon.largest = (0, 0)
    target.provider.apply(target.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 3  # eight sets of 60 values, out and in again, are 960
    assert amazon.largest[0] == 960


def test_what_cannot_go_in_one_batch_is_refused_before_anything_is_sent(target, amazon):
    name = f"big.{target.zone}"

    def big(letter: str) -> RRset:
        return rrset(name, "TXT", 300, [letter * 3000 + str(n) for n in range(6)])

    apply(target, big("x"))
    plan = planned(target, an_a(target), big("y"))
    amazon.calls.clear()
    with pytest.raises(ProviderError, match=rf"{name}: what changes here is too large .* nothing was done"):
        target.provider.apply(target.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 0


@pytest.mark.parametrize(
    ("name", "type_", "value", "said"),
    [
        ("alias", "A", "192.0.2.1", "a CNAME beside A"),
        ("x", "SMIMEA", "3 1 1 " + "00" * 32, "no records of type SMIMEA"),
    ],
)
def test_what_moto_would_take_and_amazon_would_not_is_refused_here(target, amazon, name, type_, value, said):
    apply(target, rrset(f"alias.{target.zone}", "CNAME", 300, ["a.example.net."]))
    amazon.calls.clear()
    new = rrset(f"{name}.{target.zone}", type_, 300, [value])
    with pytest.raises(ProviderError, match=said):
        target.provider.apply(target.zone, [Change(None, new, "")], target.provider.fetch(target.zone).etag)
    assert amazon.calls[CHANGE] == 0


@pytest.mark.parametrize("value", ["192.0.2.999", "example.net."])
def test_a_value_that_is_none_is_refused_before_anything_is_sent(target, amazon, value):
    bad = RRset(f"a.{target.zone}", "A", 300, frozenset({value}))
    etag = target.provider.fetch(target.zone).etag
    with pytest.raises(RecordError, match="not a value of type A"):
        target.provider.apply(target.zone, [Change(None, bad, "")], etag)
    assert amazon.calls[CHANGE] == 0


# Somebody else at the same time


@pytest.mark.parametrize("ours", ["replaced", "deleted", "created"])
def test_amazon_itself_refuses_an_edit_in_the_moment_between_reading_and_writing(target, hand, amazon, ours):
    name = f"a.{target.zone}"
    if ours != "created":
        apply(target, an_a(target), an_a(target, "b"))
    wanted = {"replaced": [an_a(target, value="192.0.2.2")], "deleted": [], "created": [an_a(target)]}[ours]
    plan = planned(target, an_a(target, "b", "192.0.2.7"), *wanted)
    amazon.before_change = lambda: hand.change(target.zone, "UPSERT", simple(name, value="192.0.2.66"))
    with pytest.raises(ConflictError, match="nothing was done, plan again"):
        target.provider.apply(target.zone, plan.changes, plan.etag)
    values = {key: r.rdata for key, r in table(target).items()}
    assert values[name, "A"] == {"192.0.2.66"}
    assert values.get((f"b.{target.zone}", "A"), {"192.0.2.1"}) == {"192.0.2.1"}


def table(target) -> dict[tuple[str, str], RRset]:
    return {r.key: r for r in target.provider.fetch(target.zone).rrsets}


def test_the_first_batches_stand_when_a_later_one_is_refused(target, hand, amazon):
    """The next plan is what is left."""
    many = texts(target, 20, 3000)
    plan = planned(target, *many)
    last = plan.changes[-1].unit

    def edit_after_the_first() -> None:
        amazon.before_change = lambda: hand.change(target.zone, "CREATE", simple(last, "TXT", '"theirs"'))

    amazon.before_change = edit_after_the_first
    with pytest.raises(
        ProviderError, match=r"changed by somebody else .* \(1 of 2 batches were made before\)"
    ):
        target.provider.apply(target.zone, plan.changes, plan.etag)
    left = planned(target, *many)
    assert [c.key for c in left.conflicts] == [(last, "TXT")]
    assert 0 < len(left.changes) < len(plan.changes)
    target.provider.apply(target.zone, left.changes, left.etag)
    assert {c.key for c in planned(target, *many).changes} == set()


# Answers that are late, lost or not what one hoped for


@pytest.mark.parametrize("fault", [{"code": "BadGateway", "status": 502}, {"cut": True}], ids=["502", "cut"])
def test_a_batch_that_was_made_and_whose_answer_was_lost_is_made_once_and_no_error(target, amazon, fault):
    apply(target, an_a(target), an_a(target, "gone"))
    plan = planned(target, an_a(target, value="192.0.2.2"), an_a(target, "b"))
    amazon.calls.clear()
    amazon.faults.append(Fault(CHANGE, made=True, **fault))
    target.provider.apply(target.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 2  # sent again by boto3, refused by Amazon: it was no longer so
    assert planned(target, an_a(target, value="192.0.2.2"), an_a(target, "b")).changes == ()


@pytest.mark.parametrize("fault", [{"code": "BadGateway", "status": 502}, {"cut": True}], ids=["502", "cut"])
def test_a_batch_that_was_not_made_for_all_attempts_says_that_nothing_was_done(target, amazon, fault):
    plan = planned(target, an_a(target))
    amazon.calls.clear()
    amazon.faults.append(Fault(CHANGE, times=99, **fault))
    with pytest.raises(ProviderError, match="nothing was done") as error:
        target.provider.apply(target.zone, plan.changes, plan.etag)
    assert "\n" not in str(error.value)
    assert amazon.calls[CHANGE] == 10
    assert (f"a.{target.zone}", "A") not in table(target)


def test_when_nobody_can_say_whether_a_batch_was_made_the_error_says_so(target, amazon):
    plan = planned(target, an_a(target))
    amazon.faults.append(Fault(CHANGE, cut=True, made=True, times=99))

    def and_then_nothing_more() -> None:
        amazon.faults.append(Fault(LIST, "AccessDenied", 403, times=1))

    amazon.before_change = and_then_nothing_more
    with pytest.raises(ProviderError, match="whether it was done is unknown, plan again"):
        target.provider.apply(target.zone, plan.changes, plan.etag)
    assert planned(target, an_a(target)).changes == ()


@pytest.mark.parametrize("code", ["Throttling", "PriorRequestNotComplete"])
def test_a_busy_amazon_is_asked_again(target, amazon, code):
    for action in (LIST, CHANGE):
        amazon.faults.append(Fault(action, code, times=4))
    apply(target, an_a(target))
    amazon.calls.clear()
    amazon.faults.append(Fault(LIST, code, message="Rate exceeded", times=99))
    with pytest.raises(ProviderError, match=f"{code}: Rate exceeded .still after 10 attempts."):
        target.provider.fetch(target.zone)
    assert amazon.calls[LIST] == 10


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_each_batch_is_awaited_on_all_servers_before_the_next(amazon):
    clock = Clock()
    target = target_at(amazon, clock=clock, pause=clock.pause)
    amazon.pending = 5
    many = texts(target, 20, 3000)
    plan = planned(target, *many)
    asked: list[int] = []
    amazon.before_change = lambda: setattr(
        amazon, "before_change", lambda: asked.append(amazon.calls["GetChange"])
    )
    target.provider.apply(target.zone, plan.changes, plan.etag)
    assert asked == [5]
    assert amazon.calls["GetChange"] == 10
    assert clock.waits == [2, 4, 8, 10, 10] * 2


def test_an_amazon_that_does_not_finish_is_told_from_one_that_did_nothing(amazon):
    clock = Clock()
    target = target_at(amazon, clock=clock, pause=clock.pause, deadline=60)
    amazon.pending = 10**6
    plan = planned(target, *texts(target, 20, 3000))
    said = r"was changed, but after 60 s Amazon has not .*; plan again later$"
    with pytest.raises(ProviderError, match=said):
        target.provider.apply(target.zone, plan.changes, plan.etag)
    assert amazon.calls[CHANGE] == 1
    assert clock.now < 80


# Who may, and where


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("InvalidClientTokenId", "are not known to Amazon"),
        ("SignatureDoesNotMatch", "a wrong secret half"),
        ("ExpiredToken", "have expired"),
        ("AccessDenied", "User: arn:aws:iam::1:user/mail is not authorized to perform: route53:"),
    ],
)
@pytest.mark.parametrize("action", [ZONES, LIST, CHANGE, "GetChange"])
def test_a_refusal_is_one_line_without_a_secret_that_says_where_aws_looks(amazon, action, code, said):
    clock = Clock()
    target = target_at(amazon, clock=clock, pause=clock.pause)
    amazon.pending = 1
    message = f"User: arn:aws:iam::1:user/mail is not authorized to perform: route53:{action}\n\nno"
    amazon.faults.append(Fault(action, code, 403, message, times=99))
    with pytest.raises(ProviderError) as error:
        apply(target, an_a(target))
    line = str(error.value)
    assert said in line
    assert "\n" not in line
    assert "not-a-secret" not in line
    assert ("~/.aws/credentials" in line) == (code != "AccessDenied")
    assert amazon.calls[action] == 1  # asking again would not help


def test_no_credentials_and_no_such_profile_say_where_aws_looks(amazon, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for provider in (Route53(endpoint=amazon.endpoint), Route53("nobody", amazon.endpoint)):
        with pytest.raises(
            ProviderError, match=r"redentials|profile \(nobody\).*; AWS looks in the env"
        ) as error:
            provider.fetch("a.example.")
        assert "\n" not in str(error.value)
    assert not amazon.calls


def test_a_profile_is_taken_as_every_aws_tool_takes_it(target, amazon, tmp_path):
    (tmp_path / "aws-credentials").write_text(
        "[mail]\naws_access_key_id = AKIDMAIL\naws_secret_access_key = x\n"
    )
    amazon.users.clear()
    Route53("mail", amazon.endpoint).fetch(target.zone)
    assert amazon.users == {"AKIDMAIL"}


@pytest.mark.usefixtures("amazon")
def test_a_service_that_is_not_there_is_one_line():
    with pytest.raises(ProviderError, match=r"listing hosted zones at Route 53: .*127\.0\.0\.1") as error:
        Route53(endpoint="http://127.0.0.1:1").fetch("a.example.")
    assert "\n" not in str(error.value)


def test_a_zone_that_is_not_there_or_there_twice(target, hand):
    with pytest.raises(
        ProviderError, match=r"no public hosted zone nosuch\.example\. for the default profile"
    ):
        target.provider.fetch("nosuch.example.")
    ids = [hand.create("twice.example."), hand.create("twice.example.")]
    with pytest.raises(ProviderError, match="several public hosted zones") as error:
        Route53(endpoint=target.provider.endpoint).fetch("twice.example.")
    assert all(each in str(error.value) for each in ids)


def test_a_private_zone_of_the_same_name_is_not_looked_at(target, hand):
    private = {"HostedZoneConfig": {"PrivateZone": True}, "VPC": {"VPCRegion": "eu-west-1", "VPCId": "vpc-1"}}
    hand.create(target.zone, **private)
    fresh = Route53(endpoint=target.provider.endpoint)
    assert fresh.fetch(target.zone) == target.provider.fetch(target.zone)
    hand.create("inside.example.", **private)
    with pytest.raises(ProviderError, match="no public hosted zone"):
        Route53(endpoint=target.provider.endpoint).fetch("inside.example.")


def test_a_zone_that_was_deleted_meanwhile(target, amazon):
    target.provider.fetch(target.zone)
    amazon.zones.pop(next(i for i, z in amazon.zones.items() if z.name == target.zone))
    with pytest.raises(ProviderError, match=rf"reading {target.zone} at Route 53: NoSuchHostedZone"):
        target.provider.fetch(target.zone)


# How often Amazon is asked


@pytest.mark.parametrize(
    ("sets", "pages"), [(299, 1), (300, 1), (301, 2), (1201, 5)], ids=["299", "300", "301", "1201"]
)
def test_a_zone_is_read_in_the_fewest_pages(target, hand, amazon, sets, pages):
    names = [f"n{n}.{target.zone}" for n in range(sets - 2)]  # NS and SOA are there already
    hand.change(target.zone, "CREATE", *(simple(name) for name in names))
    amazon.calls.clear()
    held = table(target)
    assert amazon.calls == {ZONES: -(-len(amazon.zones) // 100), LIST: pages}
    assert {name for name, type_ in held if type_ == "A"} == set(names)


def test_a_thousand_domains_are_planned_with_the_fewest_calls_there_can_be(amazon):
    """8,000 records in 1,000 zones, from threads: pages of zones, a page a zone, and a batch a zone."""
    amazon.zones.clear()
    backend = route53_backends[DEFAULT_ACCOUNT_ID]["aws"]
    zones = [f"mail{n}.example." for n in range(1000)]
    for zone in zones:
        backend.create_hosted_zone(zone, private_zone=False)
    provider = Route53(endpoint=amazon.endpoint)

    def plan(zone: str) -> ZonePlan:
        return plan_zone(provider.fetch(zone), _eight(zone), "us")

    with ThreadPoolExecutor(8) as pool:
        plans = list(pool.map(plan, zones))
        assert amazon.calls == {ZONES: 10, LIST: 1000}
        assert sum(not is_marker_name(c.key[0], p.zone) for p in plans for c in p.changes) == 7000
        amazon.calls.clear()
        list(pool.map(lambda p: provider.apply(p.zone, p.changes, p.etag), plans[:100]))
        assert amazon.calls == {LIST: 100, CHANGE: 100}
        assert not any(p.changes for p in pool.map(plan, zones[:100]))


def _eight(zone: str) -> list[RRset]:
    """What a sending domain has: eight records in seven sets."""
    records = {
        (f"mail.{zone}", "A"): ["192.0.2.1"],
        (f"mail.{zone}", "AAAA"): ["2001:db8::1"],
        (f"mail.{zone}", "TXT"): ["v=spf1 a -all"],
        (zone, "MX"): [f"10 mail.{zone}", "20 mail2.example.net."],
        (zone, "TXT"): ["v=spf1 mx -all"],
        (f"s1._domainkey.{zone}", "TXT"): [dkim_text(2048)],
        (f"_dmarc.{zone}", "TXT"): ["v=DMARC1; p=reject"],
    }
    return [rrset(*key, 300, values) for key, values in records.items()]


FLEET = """
owner: {{ name: Test, postmaster: postmaster@{bare} }}
providers: {{ aws: {{ type: route53, endpoint: "{endpoint}" }} }}
domains: [{{ name: {bare}, provider: aws }}]
machines: [{{ name: mx1, fqdn: mx1.{bare}, ipv4: 198.51.100.21, roles: {{ base: {{}} }} }}]
"""


def test_the_command_line_plans_with_nothing_but_the_type_in_the_fleet_file(
    target, amazon, tmp_path, monkeypatch, capsys
):
    fleet = tmp_path / "fleet.yaml"
    bare = target.zone.removesuffix(".")
    fleet.write_text(FLEET.format(bare=bare, endpoint=amazon.endpoint))
    roles = (Role("base", Settings, apply=lambda _: None),)
    monkeypatch.setattr(command, "open_site", lambda path: load_site(path, roles, {}))
    assert run(["dns", "plan", str(fleet)]) == 2
    assert f"+ mx1.{target.zone}" in capsys.readouterr().out
    amazon.faults.append(Fault(ZONES, "ExpiredToken", 403))
    assert run(["dns", "plan", str(fleet)]) == 1
    said = capsys.readouterr()
    assert "the credentials of the default profile have expired (ExpiredToken)" in said.err
    assert (said.out + said.err).count("\n") == 1
