"""A fleet whose domains are at Cloudflare, from the fleet file on."""

from __future__ import annotations

import pytest

from maildns.providers.cloudflare import Cloudflare
from mailwright.model import providers as model
from mailwright.model.load import load_site
from mailwright.model.role import Role, Settings
from mailwright.providers import _open
from mailwright.publish import plan_site
from tests.dns.cloudflare import add

FLEET = """
owner: {{ name: Test, postmaster: postmaster@brightpost.example }}
providers:
  cf: {{ type: cloudflare, token: dns/cloudflare, ownership: {ownership}, endpoint: "{endpoint}" }}
domains:
  - {{ name: brightpost.example, provider: cf, mx: [mx1] }}
  - {{ name: parcelnote.example, provider: cf }}
machines:
  - {{ name: mx1, fqdn: mx1.brightpost.example, ipv4: 192.0.2.21, roles: {{ postfix: {{}} }} }}
"""

ROLES = (Role("postfix", Settings, apply=lambda _: None),)


@pytest.fixture(params=["comments", "records"])
def site(request, cloudflare, tmp_path):
    for name in ("brightpost.example", "parcelnote.example"):
        cloudflare.account.add(name)
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.format(ownership=request.param, endpoint=cloudflare.endpoint))
    environ = {"MAILWRIGHT_SECRET_DNS_CLOUDFLARE": cloudflare.token() + "\n"}
    return load_site(file, ROLES, environ)


def test_a_plan_of_the_fleet_asks_for_the_zones_once_and_for_each_zones_records_once(cloudflare, site):
    plans = plan_site(site)
    assert [plan.zone for plan in plans.zones] == ["brightpost.example.", "parcelnote.example."]
    assert plans.changed
    assert not plans.blocked
    assert dict(cloudflare.calls) == {"zones": 1, "records": 2}


def test_a_mail_host_behind_the_proxy_blocks_the_plan(cloudflare, site):
    zone = cloudflare.account.named("brightpost.example.")
    add(zone, ("mx1.brightpost.example. 300 A 192.0.2.21",), proxied=True)
    plans = plan_site(site)
    assert plans.blocked
    (conflict,) = plans.zones[0].conflicts
    assert conflict.key == ("mx1.brightpost.example.", "A")
    assert "which mail cannot pass" in conflict.sentence


def test_the_fleet_file_says_how_ownership_is_marked():
    class Kept:
        def get(self, name: str) -> str:
            return f"{name}\n"

    for ownership in ("comments", "records"):
        where = model.Cloudflare(type="cloudflare", token="dns/cf", ownership=ownership)
        opened = _open(where, Kept())
        assert isinstance(opened, Cloudflare)
        assert (opened.token, opened.comments) == ("dns/cf", ownership == "comments")
        assert opened.endpoint == "https://api.cloudflare.com/client/v4"
