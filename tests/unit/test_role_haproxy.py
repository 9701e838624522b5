"""Pins what a balancer passes on to whom; the lab proves that it does."""

from __future__ import annotations

import json
import re

import pytest

from mailwright.model.role import Result, Role, Settings
from roles import haproxy

POSTFIX = Role("postfix", Settings, apply=lambda _: None)
KEEPALIVED = Role("keepalived", Settings, apply=lambda _: None)
OUTGOING = {
    "name": "outgoing",
    "service": "smtp.brightpost.example",
    "members": ["sending"],
    "balancers": ["m1", "m2"],
    "ipv4": "203.0.113.100",
    "ipv6": "2001:db8::100",
    "router_id": 51,
}
INCOMING = {
    **OUTGOING,
    "name": "incoming",
    "service": "mx.brightpost.example",
    "ports": [25],
    "router_id": 52,
}
INCOMING |= {"ipv4": "203.0.113.101", "ipv6": None}


def machine(name, number, roles, **more):
    addresses = {"ipv4": f"203.0.113.{number}", "ipv6": f"2001:db8::{number}"}
    return (
        {"name": name, "fqdn": f"{name}.brightpost.example", "debian": 12, "roles": roles} | addresses | more
    )


OUT1 = machine("out1", 21, {"postfix": {}}, labels=["sending"])
OUT2 = machine("out2", 22, {"postfix": {}}, labels=["sending"])
M2 = machine("m2", 12, {"haproxy": {}, "keepalived": {}})


@pytest.fixture
def plan(plan_of):
    """Returns a function: settings of the role, pools and members to the first balancer's plan."""

    def planned(settings=None, pools=(OUTGOING, INCOMING), members=(OUT1, OUT2)):
        roles = {"haproxy": settings or {}, "keepalived": {}}
        others = (M2, *members)
        return plan_of(
            haproxy.ROLE, KEEPALIVED, POSTFIX, machine={"roles": roles}, machines=others, pools=pools
        )

    return planned


@pytest.fixture
def section(plan, content_of):
    """Returns a function: a section of HAProxy's configuration as its lines."""

    def cut(name, **options):
        text = content_of(plan(**options), haproxy.CONFIG)
        (found,) = re.findall(rf"^{re.escape(name)}\n((?: .*\n)*)", text, re.MULTILINE)
        return [line.strip() for line in found.splitlines()]

    return cut


def test_each_port_of_a_pool_is_taken_at_its_virtual_addresses(section):
    assert section("frontend outgoing-587")[:2] == ["bind 203.0.113.100:587", "bind [2001:db8::100]:587"]
    assert section("frontend incoming-25")[0] == "bind 203.0.113.101:25"
    assert section("frontend outgoing-465")[-1] == "default_backend outgoing-465"


def test_members_are_told_the_client_and_never_see_a_virtual_address(section):
    backend = section("backend outgoing-587")
    servers = [line for line in backend if line.startswith("server ")]
    assert servers == [
        "server out1 203.0.113.21:10587 source 203.0.113.11 track health/out1",
        "server out2 203.0.113.22:10587 source 203.0.113.11 track health/out2",
    ]
    (default,) = [line for line in backend if line.startswith("default-server ")]
    assert {"send-proxy-v2", "shutdown-sessions"} <= set(default.split())


def test_a_member_is_checked_once_whatever_it_serves(section, plan, content_of):
    checked = [line.split()[1:3] for line in section("backend health") if line.startswith("server ")]
    assert checked == [["out1", "203.0.113.21:10024"], ["out2", "203.0.113.22:10024"]]
    assert content_of(plan(), haproxy.CONFIG).count(" check inter ") == 1


def test_a_member_without_ipv4_is_reached_by_ipv6(section):
    pool = {**OUTGOING, "ipv4": None}
    backend = section("backend outgoing-587", pools=[pool], members=[{**OUT1, "ipv4": None}])
    assert "server out1 [2001:db8::21]:10587 source [2001:db8::11] track health/out1" in backend


def test_clients_come_back_to_the_same_member_where_postscreen_knows_them(section):
    assert "balance source" in section("backend incoming-25")
    assert "balance leastconn" in section("backend outgoing-587")
    assert "balance source" in section("backend outgoing-465", settings={"sticky": [465]})


def test_haproxy_is_never_less_patient_than_postfix_or_a_client(section):
    defaults = dict(line.rpartition(" ")[::2] for line in section("defaults") if line.startswith("timeout "))
    # smtpd_timeout is 5 minutes, and a client may wait 10 for the answer to its final dot.
    assert {defaults["timeout client"], defaults["timeout server"]} == {"11m"}


def test_a_peer_that_has_vanished_is_noticed_long_before_its_time_is_out(section):
    said = section("defaults")
    for side in ("cli", "srv"):
        # The kernel's own tcp_keepalive_time is two hours.
        assert {f"option {side}tcpka", f"{side}tcpka-idle 60s", f"{side}tcpka-intvl 15s"} <= set(said)


def test_statistics_are_for_admins_and_the_pools_ports_for_everybody(plan):
    ports = {(p.number, p.audience, p.at) for p in plan().by_role["haproxy"].ports}
    assert ports == {
        (587, "public", ("203.0.113.100", "2001:db8::100")),
        (465, "public", ("203.0.113.100", "2001:db8::100")),
        (25, "public", ("203.0.113.101",)),
        (haproxy.STATS_PORT, "admin", ()),
    }
    closed = plan(settings={"audience": "fleet"}).by_role["haproxy"].ports
    assert {p.audience for p in closed if p.at} == {"fleet"}


def test_the_balancers_program_knows_every_server(plan, content_of):
    known = json.loads(content_of(plan(), haproxy.SERVERS))
    assert known["addresses"] == ["203.0.113.100", "2001:db8::100", "203.0.113.101"]
    places = {(s["backend"], s["member"], s["address"], s["port"]) for s in known["servers"]}
    assert ("incoming-25", "out2", "203.0.113.22", 10025) in places
    assert len(places) == 6


def state(*servers, drained=None, **more):
    rows = [
        {"pool": "outgoing", "port": port, "member": member, "status": status}
        for port, member, status in servers
    ]
    return Result(0, json.dumps({"servers": rows, "drained": drained or {}, **more}), "")


@pytest.fixture
def judge(plan):
    """Returns a function: a check's name and a result to its verdict."""

    def judged(name, result):
        (check,) = [check for _, check in plan().checks() if check.name == name]
        return check.judge(result)

    return judged


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (state((587, "out1", "UP"), (587, "out2", "DOWN")), None),
        (state((587, "out1", "DOWN"), (587, "out2", "DRAIN")), "no member is up: outgoing 587"),
        (
            Result(1, "", "mailwright-balance: HAProxy does not answer"),
            "mailwright-balance: HAProxy does not answer",
        ),
    ],
)
def test_a_port_without_a_member_is_a_fault(judge, result, verdict):
    assert judge("every port has a member that is up", result) == verdict


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (state((587, "out1", "UP")), None),
        (
            state((587, "out1", "DRAIN"), drained={"out1": "2020-01-01T00:00:00Z a new disk"}),
            "out1 is drained since 2020-01-01T00:00:00Z a new disk",
        ),
        (state((587, "out1", "DRAIN")), "out1 is drained, and nobody noted it"),
        (
            state((587, "out1", "UP"), drained={"out1": "9999-01-01T00:00:00Z"}),
            "out1 is noted as drained, and gets sessions",
        ),
        (state(retired="rolling", retired_since="9999-01-01T00:00:00Z"), None),
        (state(retired=None, retired_since="2020-01-01T00:00:00Z"), None),
        (
            state(retired="rolling", retired_since="2020-01-01T00:00:00Z"),
            "this balancer is drained since 2020-01-01T00:00:00Z rolling",
        ),
    ],
)
def test_a_forgotten_drain_is_a_fault(judge, result, verdict):
    assert judge("nobody is drained and forgotten", result) == verdict
