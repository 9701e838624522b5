"""The AWS account: who may, which zone is meant, and how often Amazon is asked."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.route53.models import route53_backends

from maildns.planning.ownership import is_marker_name
from maildns.planning.plan import ZonePlan, plan_zone
from maildns.provider import ProviderError
from maildns.providers.route53 import Route53
from maildns.records import RRset, rrset
from mailwright.command import dns as command
from mailwright.command.main import run
from mailwright.model.load import load_site
from mailwright.model.role import Role, Settings
from tests.dns.amazon import Fault
from tests.dns.cases import dkim_text
from tests.dns.route53 import CHANGE, LIST, ZONES, Clock, an_a, apply, simple, table, target_at

pytestmark = pytest.mark.usefixtures("hurried")


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
    hosted = target_at(amazon, clock=clock, pause=clock.pause)
    amazon.pending = 1
    message = f"User: arn:aws:iam::1:user/mail is not authorized to perform: route53:{action}\n\nno"
    amazon.faults.append(Fault(action, code, 403, message, times=99))
    with pytest.raises(ProviderError) as error:
        apply(hosted, an_a(hosted))
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


def test_a_profile_is_taken_as_every_aws_tool_takes_it(hosted, amazon, tmp_path):
    (tmp_path / "aws-credentials").write_text(
        "[mail]\naws_access_key_id = AKIDMAIL\naws_secret_access_key = x\n"
    )
    amazon.users.clear()
    Route53("mail", amazon.endpoint).fetch(hosted.zone)
    assert amazon.users == {"AKIDMAIL"}


def test_given_keys_count_and_not_what_this_machine_has(hosted, amazon):
    amazon.users.clear()
    provider = Route53(endpoint=amazon.endpoint, keys=("AKIDGIVEN", "not-a-secret"))
    provider.fetch(hosted.zone)
    assert amazon.users == {"AKIDGIVEN"}
    assert "not-a-secret" not in repr(provider)


@pytest.mark.usefixtures("amazon")
def test_a_service_that_is_not_there_is_one_line():
    with pytest.raises(ProviderError, match=r"listing hosted zones at Route 53: .*127\.0\.0\.1") as error:
        Route53(endpoint="http://127.0.0.1:1").fetch("a.example.")
    assert "\n" not in str(error.value)


def test_a_zone_that_is_not_there_or_there_twice(hosted, hand):
    with pytest.raises(
        ProviderError, match=r"no public hosted zone nosuch\.example\. for the default profile"
    ):
        hosted.provider.fetch("nosuch.example.")
    ids = [hand.create("twice.example."), hand.create("twice.example.")]
    with pytest.raises(ProviderError, match="several public hosted zones") as error:
        Route53(endpoint=hosted.provider.endpoint).fetch("twice.example.")
    assert all(each in str(error.value) for each in ids)


def test_a_private_zone_of_the_same_name_is_not_looked_at(hosted, hand):
    private = {"HostedZoneConfig": {"PrivateZone": True}, "VPC": {"VPCRegion": "eu-west-1", "VPCId": "vpc-1"}}
    hand.create(hosted.zone, **private)
    fresh = Route53(endpoint=hosted.provider.endpoint)
    assert fresh.fetch(hosted.zone) == hosted.provider.fetch(hosted.zone)
    hand.create("inside.example.", **private)
    with pytest.raises(ProviderError, match="no public hosted zone"):
        Route53(endpoint=hosted.provider.endpoint).fetch("inside.example.")


def test_a_zone_that_was_deleted_meanwhile(hosted, amazon):
    hosted.provider.fetch(hosted.zone)
    amazon.zones.pop(next(i for i, z in amazon.zones.items() if z.name == hosted.zone))
    with pytest.raises(ProviderError, match=rf"reading {hosted.zone} at Route 53: NoSuchHostedZone"):
        hosted.provider.fetch(hosted.zone)


# How often Amazon is asked


@pytest.mark.parametrize(
    ("sets", "pages"), [(299, 1), (300, 1), (301, 2), (1201, 5)], ids=["299", "300", "301", "1201"]
)
def test_a_zone_is_read_in_the_fewest_pages(hosted, hand, amazon, sets, pages):
    names = [f"n{n}.{hosted.zone}" for n in range(sets - 2)]  # NS and SOA are there already
    hand.change(hosted.zone, "CREATE", *(simple(name) for name in names))
    amazon.calls.clear()
    held = table(hosted)
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
    hosted, amazon, tmp_path, monkeypatch, capsys
):
    fleet = tmp_path / "fleet.yaml"
    bare = hosted.zone.removesuffix(".")
    fleet.write_text(FLEET.format(bare=bare, endpoint=amazon.endpoint))
    roles = (Role("base", Settings, apply=lambda _: None),)
    monkeypatch.setattr(command, "open_site", lambda path: load_site(path, roles, {}))
    assert run(["dns", "plan", str(fleet)]) == 2
    assert f"+ mx1.{hosted.zone}" in capsys.readouterr().out
    amazon.faults.append(Fault(ZONES, "ExpiredToken", 403))
    assert run(["dns", "plan", str(fleet)]) == 1
    said = capsys.readouterr()
    assert "the credentials of the default profile have expired (ExpiredToken)" in said.err
    assert (said.out + said.err).count("\n") == 1


def test_the_policy_in_the_manual_allows_what_is_asked_and_nothing_else(amazon):
    clock = Clock()
    hosted = target_at(amazon, clock=clock, pause=clock.pause)
    amazon.pending = 1
    amazon.calls.clear()
    apply(hosted, an_a(hosted))
    manual = (Path(__file__).parents[2] / "docs/dns-providers.md").read_text()
    policy = json.loads(
        manual[manual.index('{\n      "Version"') : manual.index("Amazon makes a batch whole")]
    )
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert allowed == {f"route53:{action}" for action in amazon.calls}
