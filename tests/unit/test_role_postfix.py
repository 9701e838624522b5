"""Pins what each machine's Postfix takes, from whom, and what it does with it, by its configuration."""

import re

import pytest
from pydantic import ValidationError

from mailwright.model.errors import NeedsError
from mailwright.model.needs import Milter, Needs
from roles import dovecot, postfix

DOMAINS = [
    {"name": "brightpost.example", "mx": ["m1"]},
    {"name": "parcelnote.example", "mx": ["m1"]},
]
SENDERS = [
    {"login": "newsletter", "addresses": ["@brightpost.example"]},
    {"login": "shop", "addresses": ["orders@parcelnote.example"]},
]
SECRETS = {
    "submission-salt": "salt",
    "submission/newsletter": "a-long-password-1",
    "submission/shop": "a-long-password-2",
}
MILTERS = Needs(
    milters=(
        Milter("unix:opendkim/rsa-0.sock", "submission", 0),
        Milter("unix:opendkim/ed25519-0.sock", "submission", 0),
        Milter("unix:opendkim/rsa-1.sock", "submission", 1),
        Milter("unix:opendkim/ed25519-1.sock", "submission", 1),
        Milter("unix:opendkim/verify.sock", "inbound"),
    )
)


@pytest.fixture
def plan(plan_of):
    """Returns a function: Postfix's settings and parts of the fleet to a plan."""

    def make(settings=None, **fleet):
        known = {"domains": DOMAINS, "senders": SENDERS, "secrets": SECRETS} | fleet
        return plan_of(dovecot.ROLE, postfix.ROLE, settings={"postfix": settings or {}}, **known)

    return make


@pytest.fixture
def table(plan, content_of):
    """Returns a function: a file below /etc/postfix to its lines, without comments."""

    def lines(name, settings=None, **fleet):
        text = content_of(plan(settings, **fleet), f"/etc/postfix/{name}")
        return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]

    return lines


@pytest.fixture
def setting(plan, content_of):
    """Returns a function: a parameter of main.cf to its value on one line, or None."""

    def value(name, settings=None, **fleet):
        text = content_of(plan(settings, **fleet), "/etc/postfix/main.cf")
        text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
        found = re.search(rf"^{name} =(.*(?:\n[ \t]+.*)*)", text, re.MULTILINE)
        return " ".join(found[1].split()) if found else None

    return value


@pytest.fixture
def services(table):
    """Returns a function: settings to the service names of master.cf."""
    return lambda *args, **fleet: [
        line.split()[0] for line in table("master.cf", *args, **fleet) if not line.startswith(" ")
    ]


def ports(plan):
    return {(p.number, p.audience) for p in plan.by_role["postfix"].ports}


# --- which doors are open


def test_an_mx_that_sends_opens_all_three_ports(plan, services):
    assert ports(plan()) == {(25, "public"), (587, "public"), (465, "public")}
    assert {"smtp", "smtpd", "submission", "submissions"} <= set(services())


def test_a_machine_that_no_domain_names_as_mx_has_no_port_25(plan, services):
    domains = [d | {"mx": []} for d in DOMAINS]
    assert ports(plan(domains=domains)) == {(587, "public"), (465, "public")}
    assert "smtpd" not in services(domains=domains)


def test_without_submission_both_of_its_ports_are_closed(plan, services):
    assert ports(plan({"submission": False})) == {(25, "public")}
    assert not {"submission", "submissions", "cleanup-submission"} & set(services({"submission": False}))


def test_submission_may_be_for_a_named_network(plan):
    networks = {"shops": ["203.0.113.96/28"]}
    found = ports(plan({"submission_audience": "shops"}, networks=networks))
    assert found == {(25, "public"), (587, "shops"), (465, "shops")}


def test_submission_without_somebody_to_check_passwords_is_a_mistake(plan_of):
    with pytest.raises(NeedsError, match=r"m1: .* role dovecot"):
        plan_of(postfix.ROLE)


@pytest.mark.parametrize(("debian", "unit"), [(12, "postfix@-.service"), (13, "postfix.service")])
def test_the_unit_that_runs_postfix_is_reloaded(plan, debian, unit):
    found = {u.name: u for u in plan(machine={"debian": debian}).by_role["postfix"].units}
    assert found[unit].reload
    assert "/etc/mailwright/certificates/smtp/privkey.pem" in found[unit].reads


# --- who may send


def test_rights_name_every_login_that_may_use_an_address(table):
    senders = [*SENDERS, {"login": "both", "addresses": ["@parcelnote.example", "news@brightpost.example"]}]
    secrets = SECRETS | {"submission/both": "a-long-password-3"}
    # Postfix asks for the address first and then for its domain, and takes the first answer.
    assert table("senders", senders=senders, secrets=secrets) == [
        "@brightpost.example newsletter",
        "orders@parcelnote.example shop,both",
        "@parcelnote.example both",
        "news@brightpost.example both,newsletter",
    ]


def test_nothing_is_relayed_for_where_it_comes_from(setting):
    for name in ("smtpd_relay_restrictions", "inbound_relay_restrictions", "submission_relay_restrictions"):
        assert "permit_mynetworks" not in setting(name)
    assert setting("smtpd_relay_restrictions") == "reject"


def test_every_service_on_the_network_says_what_it_takes(plan, content_of):
    text = content_of(plan(), "/etc/postfix/master.cf")
    for service in re.split(r"\n(?=\S)", text):
        if re.match(r"\S+ +(inet|pass).*smtpd$", service.splitlines()[0]):
            for kind in ("sender", "relay", "recipient", "data"):
                assert f"-o smtpd_{kind}_restrictions=" in service, service


def test_only_names_whose_spf_says_so_are_taken_for_forged(table):
    domains = [DOMAINS[0] | {"spf": {"include": ["esp.example"]}}, DOMAINS[1], {"name": "soft.example"}]
    domains[2]["spf"] = {"all": "~all"}
    names = {line.split()[0] for line in table("forged", domains=domains)}
    assert names == {"parcelnote.example", "m1.brightpost.example"}


# --- what comes back


def test_every_sender_address_takes_its_bounces(table):
    kept = dict(line.split() for line in table("mailboxes"))
    assert kept["bounces@brightpost.example"] == "brightpost.example/bounces/"
    assert kept["orders@parcelnote.example"] == "parcelnote.example/orders/"


def test_where_dmarc_reports_are_asked_for_they_are_taken(table):
    domains = [
        DOMAINS[0] | {"dmarc": {"rua": ["mailto:reports@brightpost.example", "mailto:x@else.example"]}}
    ]
    kept = [line.split()[0] for line in table("mailboxes", domains=domains, senders=[])]
    assert "reports@brightpost.example" in kept
    assert not [address for address in kept if address.endswith("@else.example")]


def test_more_addresses_may_be_taken_and_all_of_a_domain(table):
    settings = {"accept": ["help@parcelnote.example", "@brightpost.example", "no@elsewhere.example"]}
    kept = dict(line.split() for line in table("mailboxes", settings))
    assert kept["help@parcelnote.example"] == "parcelnote.example/help/"
    assert kept["@brightpost.example"] == "brightpost.example/@/"
    assert "no@elsewhere.example" not in kept


def test_no_address_leads_out_of_the_mail_folder(table):
    settings = {"accept": ["../../x@brightpost.example"]}
    with pytest.raises(ValidationError):
        table("mailboxes", settings)
    kept = dict(line.split() for line in table("mailboxes", {"accept": ["a/b@brightpost.example"]}))
    assert kept["a/b@brightpost.example"] == "brightpost.example/a%2Fb/"


def test_those_in_charge_are_reached_at_every_domain_by_an_alias_with_an_owner(table):
    forwards = dict(line.split() for line in table("virtual"))
    assert forwards["abuse@parcelnote.example"] == "abuse@localhost"
    aliases = dict(line.split() for line in table("aliases"))
    assert aliases["abuse"] == "postmaster@brightpost.example"
    assert "owner-abuse" in aliases
    assert "owner-abuse@parcelnote.example" in [line.split()[0] for line in table("mailboxes")]


def test_an_owner_at_home_is_kept_and_not_forwarded_in_a_circle(table):
    assert "postmaster@brightpost.example" not in [line.split()[0] for line in table("virtual")]
    assert "postmaster@brightpost.example" in [line.split()[0] for line in table("mailboxes")]


def test_a_machine_without_port_25_takes_mail_for_nobody(table, setting):
    domains = [d | {"mx": []} for d in DOMAINS]
    assert table("mailboxes", domains=domains) == []
    assert setting("virtual_mailbox_domains", domains=domains) == ""


# --- how it speaks


def test_it_speaks_from_its_own_addresses_and_by_its_own_name(setting):
    assert setting("smtp_bind_address") == "203.0.113.11"
    assert setting("smtp_bind_address6") == "2001:db8::11"
    assert setting("inet_protocols") == "all"
    assert setting("smtp_helo_name") == "$myhostname"
    assert setting("myhostname") == "m1.brightpost.example"


def test_a_family_without_an_address_is_not_used(setting):
    assert setting("inet_protocols", machine={"ipv6": None}) == "ipv4"
    assert setting("smtp_bind_address6", machine={"ipv6": None}) is None


@pytest.mark.parametrize(
    ("domains", "origin"),
    [
        (DOMAINS, "brightpost.example"),
        (DOMAINS[1:], "parcelnote.example"),
        ([{"name": "brightpost.example"}], "m1.brightpost.example"),
    ],
)
def test_what_the_machine_writes_can_be_answered(setting, domains, origin):
    assert setting("myorigin", domains=domains, senders=[]) == origin


def test_the_largest_message_fits_wherever_mail_is_delivered(setting):
    # local(8) and virtual(8) do not start with a limit below message_size_limit; local's default is 51200000.
    for limit in ("mailbox_size_limit", "virtual_mailbox_limit"):
        assert setting(limit, {"message_size": 100_000_000}) == "0"


def test_each_lane_is_a_chain_of_its_own(setting):
    assert setting("submission_milter_maps", needs=MILTERS) == (
        "pipemap:{ randmap:{ lane-0, lane-1 }, inline:{"
        " { lane-0 = unix:opendkim/rsa-0.sock unix:opendkim/ed25519-0.sock },"
        " { lane-1 = unix:opendkim/rsa-1.sock unix:opendkim/ed25519-1.sock } }}"
    )
    assert (
        setting("non_smtpd_milters", needs=MILTERS)
        == "unix:opendkim/rsa-0.sock, unix:opendkim/ed25519-0.sock"
    )


def test_unsigned_mail_waits_and_unverified_mail_does_not(setting):
    assert setting("milter_default_action", needs=MILTERS) == "tempfail"
    assert setting("inbound_milters", needs=MILTERS) == "{ unix:opendkim/verify.sock, default_action=accept }"


@pytest.mark.parametrize(
    "settings",
    [
        {"queue_lifetime": "3 days"},
        {"queue_lifetime": "3d\nmynetworks = 0.0.0.0/0"},
        {"blocklists": ["zen.example; reject"]},
        {"message_size": 1},
        {"accept": ["x@brightpost.example other@example.org"]},
        {"submission_audience": "Everybody!"},
    ],
)
def test_no_setting_can_smuggle_a_line_in(plan, settings):
    with pytest.raises(ValidationError):
        plan(settings)


def test_the_pattern_for_submission_headers_hides_the_client(table, content_of, plan):
    pattern = next(line for line in table("submission_headers") if line.startswith("/^Received"))
    posix = pattern.strip()[1:-1].replace("[[:space:]]", r"\s").replace("[^[:space:];]", r"[^\s;]")
    header = (
        "Received: from laptop (home.example [203.0.113.99])\n\t(using TLSv1.3 with cipher X (256 bits))\n"
        "\tby m1.brightpost.example (Postfix) with ESMTPSA id 4jXCFK6FHrzK8r8\n"
        "\tfor <anna@mailbox.example>; Sun, 22 Nov 2026 02:09:41 +0000 (UTC)"
    )
    found = re.match(posix, header, re.DOTALL)
    assert found
    assert found.groups() == ("4jXCFK6FHrzK8r8", "Sun, 22 Nov 2026 02:09:41 +0000 (UTC)")
    assert not re.match(posix, header.replace("by m1", "by other"), re.DOTALL)
    assert "REPLACE Received: by m1.brightpost.example (Postfix) id $1; $2" in content_of(
        plan(), "/etc/postfix/submission_headers"
    )


def test_the_queue_of_a_closed_machine_goes_nowhere(setting):
    assert setting("master_service_disable", machine={"closed": True}) == "qmgr.unix"
    assert setting("master_service_disable") is None


def test_what_must_not_send_twice_waits_for_the_fence(plan):
    assert [unit.name for unit in plan().merged.units if unit.fenced] == ["postfix.service"]
