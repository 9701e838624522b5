"""`mailwright dns lint` over a whole fleet, from its file alone and with its zones on a real knot."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from mailwright.command import dns_lint
from mailwright.model.load import load_site
from tests.dns.spf_corpus import terms
from tests.dns.test_publish import ED25519, ROLES
from tests.dns.test_publish import fleet as published_fleet

fleet = published_fleet

ZONE, THERE = "brightpost.example.", "parcelnote.example."
TODAY = datetime.now(UTC).date()
NO_REPORTS = ("dmarc-reports", "elsewhere.example.")


class Lints:
    """The command over a fleet file."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet

    def __call__(self, *arguments: str) -> list[tuple[str, str]]:
        status, out = self.fleet.dns("lint", "--json", *arguments)
        found = [(each["name"], each["about"]) for each in json.loads(out)]
        assert status == (1 if found else 0)
        return found


@pytest.fixture
def lints(fleet, monkeypatch):
    monkeypatch.setattr(dns_lint, "open_site", lambda path: load_site(path, ROLES, fleet.environ))
    fleet.change("dmarc: { rua", f"dmarc: {{ since: {TODAY}, rua")
    fleet.change("name: elsewhere.example\n", f"name: elsewhere.example\n    dmarc: {{ since: {TODAY} }}\n")
    return Lints(fleet)


def test_what_a_fleet_would_publish_is_linted_from_its_file_alone(lints, monkeypatch):
    with monkeypatch.context() as nobody_to_ask:
        nobody_to_ask.setattr("dns.query.udp", None)
        nobody_to_ask.setattr("dns.query.tcp", None)
        assert lints() == [NO_REPORTS]
    status, out = lints.fleet.dns("lint")
    assert (status, out.count("\n")) == (1, 1)
    assert out.split()[:3] == ["warning", "dmarc-reports", "elsewhere.example"]


def test_a_lint_is_accepted_at_its_domain_or_fleet_wide(lints):
    lints.fleet.change("name: elsewhere.example", "name: elsewhere.example\n    accept: [dmarc-reports]")
    assert lints() == []
    assert lints.fleet.dns("lint") == (0, "nothing found\n")
    lints.fleet.change("accept: [dmarc-reports]", "accept: [spf-open]")
    assert lints() == [NO_REPORTS]
    lints.fleet.change("reverse_zones:", "dns: { accept: [dmarc-reports] }\nreverse_zones:")
    assert lints() == []


def test_a_name_that_no_lint_has_is_a_mistake(lints):
    lints.fleet.change("name: elsewhere.example", "name: elsewhere.example\n    accept: [dmarc-report]")
    status, out = lints.fleet.dns("lint")
    assert (status, out.count("\n")) == (1, 1)
    assert "domains[2].accept[0]: no lint is called dmarc-report" in out
    assert "dmarc-reports" in out


@pytest.mark.parametrize("since", ["since: 2020-01-31, ", ""])
def test_a_policy_of_none_is_told_after_months_and_where_nobody_counts_them(lints, since):
    lints.fleet.change(f"since: {TODAY}, ", since)
    assert lints() == [NO_REPORTS, ("dmarc-none", "parcelnote.example.")]


def test_senders_of_a_domain_that_takes_no_mail_are_told(lints):
    senders = 'senders: [{ login: a, addresses: ["@brightpost.example"] }]\nmachines:'
    lints.fleet.change("machines:", senders)
    assert lints() == [NO_REPORTS]
    lints.fleet.change("mx: [mx1]", "mx: []")
    assert lints() == [("null-mx-sender", ZONE), NO_REPORTS]


def test_a_plan_shows_its_lints_beneath_and_they_change_neither_its_status_nor_its_json(lints):
    status, out = lints.fleet.dns("plan")
    assert status == 2
    assert "dmarc-reports" in out.rpartition("\nlints ")[2]
    status, out = lints.fleet.dns("plan", "--json")
    assert status == 2
    assert "lints" not in json.loads(out)


def test_online_others_records_and_keys_nobody_signs_with_are_seen(lints, knot):
    key = f's9._domainkey.{ZONE} 300 TXT "v=DKIM1; k=ed25519; p={"A" * 43}="'
    knot.target(ZONE).foreign(key, f'shop.{ZONE} 60 TXT "v=spf1 +all"')
    assert lints() == [NO_REPORTS]
    found = [("spf-all", f"shop.{ZONE}"), NO_REPORTS, ("dkim-idle", f"s9._domainkey.{ZONE}")]
    assert lints("--online") == found
    lints.fleet.change("provider: knot\n    mx", "provider: knot\n    accept: [dkim-idle]\n    mx")
    assert lints("--online") == found[:2]


def test_online_our_own_old_records_are_not_held_against_the_new(lints):
    assert lints.fleet.dns("apply")[0] == 0
    lints.fleet.change("selector: e1", "selector: e2")
    lints.fleet.environ["MAILWRIGHT_SECRET_DKIM_BRIGHTPOST_EXAMPLE_E2"] = ED25519
    assert lints("--online") == [NO_REPORTS]


def test_online_lookups_behind_includes_count(lints, knot):
    deep = f"v=spf1 {terms('exists:x#.parcelnote.example', 10)} -all"
    knot.target(THERE).foreign(f'spf.{THERE} 300 TXT "{deep[:200]}" "{deep[200:]}"')
    lints.fleet.change(
        "name: brightpost.example", f"name: brightpost.example\n    spf: {{ include: [spf.{THERE}] }}"
    )
    assert lints() == [NO_REPORTS]
    assert lints("--online") == [("spf-lookups", ZONE), NO_REPORTS]
