"""Pins what a machine's Postfix opens for the balancers in front of it and the machines beside it."""

import re

import pytest

from mailwright.model.errors import NeedsError
from mailwright.model.needs import Milter, Needs
from roles import dovecot, postfix

SECRETS = {"submission-salt": "salt", "submission/shop": "a-long-password-2"}
FLEET = {
    "domains": [{"name": "brightpost.example", "mx": ["incoming"]}],
    "senders": [{"login": "shop", "addresses": ["@brightpost.example"]}],
    "secrets": SECRETS,
}
BALANCERS = [
    {"name": f"lb{n}", "fqdn": f"lb{n}.brightpost.example", "ipv4": f"203.0.113.4{n}"} for n in (1, 2)
]
OTHERS = [
    {
        "name": f"m{n}",
        "fqdn": f"m{n}.brightpost.example",
        "ipv4": f"203.0.113.1{n}",
        "ipv6": f"2001:db8::1{n}",
        "roles": {"postfix": {}},
    }
    for n in (2, 3)
]
BALANCED = {"balancers": ["lb1", "lb2"], "ipv4": "203.0.113.100"}
OUTGOING = {"name": "outgoing", "service": "smtp.brightpost.example", "members": ["m1", "m2"], **BALANCED}
INCOMING = OUTGOING | {"name": "incoming", "service": "mx.brightpost.example", "ports": [25]}
MILTERS = Needs(
    milters=(
        Milter("unix:opendkim/rsa-0.sock", "submission", 0),
        Milter("unix:opendkim/ed25519-0.sock", "submission", 0),
        Milter("unix:opendkim/rsa-1.sock", "submission", 1),
        Milter("unix:opendkim/ed25519-1.sock", "submission", 1),
        Milter("unix:opendkim/verify.sock", "inbound"),
    )
)
LB = ("lb1", "lb2")


@pytest.fixture
def plan(plan_of):
    """Returns a function: pools, Postfix's settings and parts of the fleet to the plan of a member."""

    def make(*pools, settings=None, machines=(*BALANCERS, *OTHERS), **fleet):
        known = FLEET | {"pools": pools, "machines": machines, "needs": MILTERS} | fleet
        return plan_of(dovecot.ROLE, postfix.ROLE, settings={"postfix": settings or {}}, **known)

    return make


@pytest.fixture
def service(content_of):
    """Returns a function: a plan and a service of master.cf to its options, or None if there is none."""

    def options(made, name, kind="inet"):
        text = re.sub(r"^\s*#.*\n", "", content_of(made, "/etc/postfix/master.cf"), flags=re.MULTILINE)
        found = re.search(rf"^{name} +{kind} [^\n]*\n((?:    [^\n]*\n)*)", text, re.MULTILINE)
        return found and dict(o.split("=", 1) for o in re.findall(r"-o ([^{\s]\S*)", found[1]))

    return options


def opened(made):
    return {p.number: p.audience for p in made.by_role["postfix"].ports if p.audience != "public"}


def test_the_ports_behind_balancers_are_for_the_balancers_alone(plan):
    assert opened(plan(OUTGOING, machines=BALANCERS)) == {10587: LB, 10465: LB, 10024: LB}
    assert opened(plan(INCOMING, machines=BALANCERS)) == {10025: LB, 10024: LB}
    both = opened(plan(OUTGOING, INCOMING, machines=BALANCERS))
    assert both == {10025: LB, 10587: LB, 10465: LB, 10024: LB}


@pytest.mark.parametrize("pools", [(), (OUTGOING | {"members": ["m2"]},), (OUTGOING | {"balancers": []},)])
def test_who_has_no_balancer_in_front_opens_nothing_for_one(plan, service, pools):
    made = plan(*pools, machines=BALANCERS)
    assert opened(made) == {}
    assert not service(made, "10024")
    assert "logrotate" not in {p.name for p in made.by_role["postfix"].packages}


def test_a_proxied_port_is_like_the_direct_one_but_for_the_header(plan, service):
    made = plan(OUTGOING)
    header = {"smtpd_upstream_proxy_protocol": "haproxy"}
    assert service(made, "10587") == service(made, "submission") | header
    assert service(made, "10465") == service(made, "submissions") | header


def test_two_postscreens_share_no_cache(plan, service):
    made = plan(INCOMING)
    assert service(made, "smtp") == {}
    assert service(made, "10025")["postscreen_cache_map"].startswith("btree:")


def test_every_proxied_and_every_other_smtpd_says_what_it_takes(plan, service, content_of):
    made = plan(OUTGOING, INCOMING)
    text = content_of(made, "/etc/postfix/master.cf")
    names = re.findall(r"^(\S+) +(?:inet|pass) .* smtpd$", text, re.MULTILINE)
    assert {"10024", "10026", "10465", "10587"} <= set(names)
    for name in names:
        options = service(made, name, r"\S+")
        wanted = [f"smtpd_{kind}_restrictions" for kind in ("sender", "relay", "recipient", "data")]
        assert [option for option in wanted if option not in options] == [], name


# --- the health check


def test_the_health_check_passes_the_signers_of_all_lanes(plan, service, content_of):
    made = plan(OUTGOING)
    assert service(made, "10024")["smtpd_milters"] == "$health_milters"
    assert (
        "health_milters = unix:opendkim/rsa-0.sock, unix:opendkim/ed25519-0.sock,"
        " unix:opendkim/rsa-1.sock, unix:opendkim/ed25519-1.sock\n"
    ) in content_of(made, "/etc/postfix/main.cf")


def test_a_member_without_submission_is_healthy_without_signers_and_passwords(plan, service):
    options = service(plan(INCOMING), "10024")
    assert {"smtpd_milters", "smtpd_sasl_auth_enable"}.isdisjoint(options)


def test_the_health_check_takes_no_mail_and_gives_up_before_the_clients_do(plan, service, content_of):
    made = plan(OUTGOING)
    options = service(made, "10024")
    assert options["smtpd_relay_restrictions"] == options["smtpd_recipient_restrictions"] == "reject"
    clients = re.search(r"^queue_minfree = (\d+)$", content_of(made, "/etc/postfix/main.cf"), re.MULTILINE)
    assert int(options["queue_minfree"]) > int(clients[1])


def test_the_health_check_logs_to_a_file_that_is_rotated(plan, service, content_of):
    made = plan(OUTGOING)
    log = service(made, "10024")["maillog_file"]
    assert service(made, "postlog", "unix-dgram") == {"maillog_file": log}
    assert f"{log} {{" in content_of(made, "/etc/logrotate.d/mailwright-postfix-health")


# --- port 25 of a pool


def test_a_member_of_a_pool_for_mail_from_the_world_takes_it(plan):
    assert 25 in {p.number for p in plan(INCOMING, domains=[{"name": "brightpost.example"}]).merged.ports}


def test_the_world_is_told_the_key_of_port_25_where_it_meets_it(plan):
    """A name for submission alone has no port 25 behind it, and whoever asked there would learn nothing."""
    (certificate,) = plan(OUTGOING, INCOMING, settings={"dane": True}).merged.certificates
    assert set(certificate.names) == {f"{n}.brightpost.example." for n in ("m1", "smtp", "mx")}
    assert certificate.pinned == (("m1.brightpost.example.", 25), ("mx.brightpost.example.", 25))


def test_a_member_that_is_told_not_to_is_a_mistake(plan):
    with pytest.raises(NeedsError, match=r"m1: `inbound: false`, but a pool"):
        plan(INCOMING, settings={"inbound": False})


# --- the hand-over of a queue


def test_a_queue_is_taken_from_the_other_sending_machines_alone(plan, content_of):
    made = plan()
    assert opened(made) == {10026: ("m2", "m3")}
    peers = [line for line in content_of(made, "/etc/postfix/peers.cidr").splitlines() if line[0] != "#"]
    addresses = ("203.0.113.12", "2001:db8::12", "203.0.113.13", "2001:db8::13")
    assert peers == [f"{address} permit" for address in addresses]


def test_what_is_handed_over_is_neither_signed_nor_changed(plan, service):
    options = service(plan(), "10026")
    overrides = set(options["receive_override_options"].split(","))
    assert overrides >= {"no_milters", "no_header_body_checks", "no_address_mappings"}
    assert options["smtpd_relay_restrictions"].endswith("cidr:/etc/postfix/peers.cidr,reject")
    assert options["smtpd_tls_security_level"] == "encrypt"


@pytest.mark.parametrize(
    ("lacks", "absent", "claim"), [("ipv6", "::1", "TCP4 127.0.0.1"), ("ipv4", "127.0.0.1", "TCP6 ::1")]
)
def test_ports_are_asked_in_a_family_that_the_machine_has(plan, lacks, absent, claim):
    pool = OUTGOING | {"ports": [25, 587, 465], "ipv6": "2001:db8::100"}
    commands = [check.command for _, check in plan(pool, machine={lacks: None}).checks()]
    assert sum("/dev/tcp/" in command or "://" in command for command in commands) == 9
    assert [command for command in commands if absent in command] == []
    assert any(f"PROXY {claim} " in command for command in commands)
