"""What forbids that a machine goes, and which records are whose."""

import pytest

import roles
from maildns.planning.ownership import mark
from maildns.planning.plan import ZonePlan
from maildns.provider import Change
from maildns.records import RRset
from mailwright.dnsplan import Plans
from mailwright.growth.aside import refusals
from mailwright.growth.publishing import leading_records, own_records, part_of
from mailwright.model.aside import aside, closed_aside
from mailwright.model.fleet import Fleet
from mailwright.model.site import Site
from mailwright.queue import peers

SENDS = {"base": {}, "postfix": {}, "dovecot": {}, "certificates": {}}
BALANCES = {"haproxy": {}, "keepalived": {}}


class NoSecrets:
    def get(self, name):
        raise KeyError(name)

    def names(self):
        return ()


def fleet(*, balancers=("lb1", "lb2"), **more):
    machines = [
        machine("out1", 11, SENDS),
        machine("out2", 12, SENDS),
        machine("mx1", 21, SENDS, labels=()),
        machine("lb1", 41, BALANCES, labels=()),
        machine("lb2", 42, BALANCES, labels=()),
    ]
    virtual = {"ipv4": "192.0.2.100"} if balancers else {}
    pool = {
        "name": "outgoing",
        "service": "smtp.brightpost.example",
        "members": ["sending"],
        "balancers": list(balancers),
        **virtual,
    }
    domain = {"name": "brightpost.example", "mx": ["mx1"], "dmarc": {"policy": "none"}, "spf": {}}
    whole = {
        "owner": {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"},
        "domains": [domain | more.pop("domain", {})],
        "pools": [pool | more.pop("pool", {})],
        "machines": machines,
    }
    return Fleet.model_validate(whole | more)


def machine(name, end, with_roles, labels=("sending",)):
    fqdn = f"{name}.brightpost.example"
    return {"name": name, "fqdn": fqdn, "ipv4": f"192.0.2.{end}", "labels": labels, "roles": with_roles}


def why(of, name):
    return "; ".join(refusals(of, name))


def test_a_member_with_another_beside_it_may_go():
    assert why(fleet(), "out1") == ""


@pytest.mark.parametrize(
    ("given", "name", "sentence"),
    [
        ({}, "lb1", "it balances the pool outgoing: name another machine in its `balancers` first"),
        ({}, "mx1", "it is the only MX of brightpost.example: name another in `mx` first"),
        (
            {"pool": {"members": ["out1"]}},
            "out1",
            "it is the only member of the pool outgoing: add another one first",
        ),
        (
            {"pool": {"keep_serving": 2}},
            "out1",
            "the pool outgoing would have 1 members and keeps 2 serving",
        ),
        (
            {"domain": {"clients": {"submissions": ["out2"]}}},
            "out2",
            "it alone is named in `clients.submissions` of brightpost.example: name another first",
        ),
        (
            {"domain": {"links": {"click": "out1"}}},
            "out1",
            "`links.click` of brightpost.example leads to it: name another first",
        ),
        (
            {"domain": {"mta_sts": {"mode": "testing", "served_by": ["out2"]}}},
            "out2",
            "it alone serves the MTA-STS policy of brightpost.example: name another in `served_by` first",
        ),
        ({"machines": [machine("out1", 11, SENDS)], "pools": []}, "out1", "it is the fleet's only machine"),
        (
            {"machines": [machine("out1", 11, SENDS), machine("lb1", 41, {})], "pools": []},
            "out1",
            "it is the fleet's only sender: no other machine has the role postfix",
        ),
    ],
)
def test_whom_the_fleet_cannot_do_without_may_not_go(given, name, sentence):
    assert sentence in why(fleet(**given), name)


def test_a_machine_that_stands_aside_is_there_and_serves_nobody():
    other = aside(fleet(domain={"mx": ["mx1", "out1"]}), "out1")
    assert [m.name for m in other.members(other.pools[0])] == ["out2"]
    assert other.domains[0].mx == ("mx1",)
    assert other.machine("out1")


def test_the_only_member_stays_where_it_is():
    alone = fleet(pool={"members": ["out1"]})
    assert aside(alone, "out1").members(alone.pools[0]) == alone.members(alone.pools[0])


# --- records


def site(**given):
    return Site(fleet(**given), roles.ROLES, NoSecrets())


def test_its_own_records_are_its_names_addresses_and_who_may_send():
    assert own_records(site(), "out1") == {
        ("out1.brightpost.example.", "A"),
        ("out1.brightpost.example.", "TXT"),
        ("11.2.0.192.in-addr.arpa.", "PTR"),
        ("brightpost.example.", "TXT"),
    }


def test_behind_balancers_no_record_leads_clients_to_a_member():
    assert leading_records(site(), "out1") == frozenset()


def test_without_balancers_the_name_of_the_pool_leads_to_it_and_comes_later():
    without = site(balancers=())
    assert leading_records(without, "out1") == {("smtp.brightpost.example.", "A")}
    assert ("smtp.brightpost.example.", "A") not in own_records(without, "out1")


def test_an_mx_leads_to_it():
    assert leading_records(site(domain={"mx": ["mx1", "out1"]}), "out1") == {("brightpost.example.", "MX")}


def test_a_queue_goes_to_a_member_of_the_same_pool_rather_than_to_another_sender():
    given = fleet(
        machines=[
            machine("mx1", 21, SENDS, labels=()),
            machine("out1", 11, SENDS),
            machine("out2", 12, SENDS),
        ],
        pool={"balancers": [], "ipv4": None},
    )
    assert [m.name for m in peers(given, given.machine("out1"))] == ["out2", "mx1"]


def test_a_set_is_planned_with_its_marker_or_not_at_all():
    zone, name = "2.0.192.in-addr.arpa.", "11.2.0.192.in-addr.arpa."
    pointer = RRset(name, "PTR", 3600, frozenset({"out1.brightpost.example."}))
    marker = mark("mailwright", pointer.key, pointer.rdata).rrset(zone)
    changes = tuple(Change(each, None, "no longer wanted", unit=name) for each in (pointer, marker))
    plans = Plans((ZonePlan(zone, "etag", changes),), (), {})
    kept = part_of(plans, lambda key: key[1] != "PTR")
    assert kept.zones[0].changes == ()
    assert kept.kept == {zone: {pointer.key, marker.key}}
    assert part_of(plans, lambda key: key[1] == "PTR").zones[0].changes == changes
    assert part_of(plans, lambda _: True, removals=False).zones[0].changes == ()


def closing(fleet_, *names):
    machines = tuple(m.model_copy(update={"closed": m.name in names}) for m in fleet_.machines)
    return fleet_.model_copy(update={"machines": machines})


def test_closed_machines_stand_aside_where_another_one_serves():
    whole = fleet(balancers=(), domain={"mx": ["mx1", "out1"], "clients": {"submissions": ["outgoing"]}})
    open_ = closed_aside(closing(whole, "out1"))
    assert [m.name for m in open_.members(open_.pools[0])] == ["out2"]
    assert open_.domains[0].mx == ("mx1",)
    assert len(open_.machines) == len(whole.machines)
    assert closed_aside(whole) == whole


def test_a_closed_machine_that_nobody_stands_in_for_is_still_led_to_so_that_mail_waits_for_it():
    open_ = closed_aside(closing(fleet(), "mx1"))
    assert open_.domains[0].mx == ("mx1",)
