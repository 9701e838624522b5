"""A pool without balancers: its name has the members' addresses, and nobody is expected in front."""

import copy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import roles
from mailwright.model.fleet import Fleet
from mailwright.model.pools import HEALTH_PORT, proxy_port
from mailwright.model.site import Site
from mailwright.zones import desired

LAB = YAML(typ="safe", pure=True).load(Path(__file__).parents[2] / "inventory" / "lab.yaml")
SERVICE = "smtp.brightpost.example."


class AnySecret:
    """Every secret is the same word; no role of these machines looks at it more closely."""

    def get(self, _name):
        return "secret"

    def names(self):
        return ()


@pytest.fixture
def site():
    """The lab's senders, as a fleet without balancers."""
    data = copy.deepcopy(LAB)
    data["machines"] = [m for m in data["machines"] if "sending" in m.get("labels", ())]
    for machine in data["machines"]:
        machine["roles"].pop("backup", None)  # the store is not among them
    del data["backup"]
    data["pools"] = [{"name": "outgoing", "service": SERVICE, "members": ["sending"]}]
    del data["acme"]["ca"]  # the running lab's authority: a file that only a lab makes
    domain = {"name": "brightpost.example", "clients": data["domains"][0]["clients"]}
    data["domains"], data["senders"], data["reverse_zones"] = (
        [domain | {"provider": "knot"}],
        [],
        LAB["reverse_zones"],
    )
    return Site(Fleet.model_validate(data), roles.ROLES, AnySecret())


@pytest.fixture
def records(site):
    """Name and type to values."""
    return {each.key: each.rdata for zone in desired(site).zones for each in zone.rrsets}


def test_the_service_name_has_every_member_s_addresses(site, records):
    members = site.fleet.machines
    assert len(members) == 3
    assert records[SERVICE, "A"] == {str(m.ipv4) for m in members}
    assert records[SERVICE, "AAAA"] == {str(m.ipv6) for m in members}


def test_mail_programs_find_it(records):
    assert records["_submissions._tcp.brightpost.example.", "SRV"] == {f"0 1 465 {SERVICE}"}
    assert records["_submission._tcp.brightpost.example.", "SRV"] == {f"10 1 587 {SERVICE}"}


def test_reverse_names_are_the_members_own(site, records):
    names = {value for (_, type_), values in records.items() if type_ == "PTR" for value in values}
    assert names == {str(m.fqdn) for m in site.fleet.machines}


def test_members_serve_clients_themselves_and_nobody_in_front(site):
    for machine in site.fleet.machines:
        needs = site.plan(machine).merged
        ports = {port.number: port.audience for port in needs.ports}
        assert (ports[587], ports[465]) == ("public", "public")
        assert not {HEALTH_PORT, proxy_port(587), proxy_port(465)} & ports.keys()
        (certificate,) = (c for c in needs.certificates if c.name == "smtp")
        assert certificate.names == (machine.fqdn, SERVICE)
        master = next(f.content.decode() for f in needs.files if f.path == "/etc/postfix/master.cf")
        assert "proxy_protocol" not in master
