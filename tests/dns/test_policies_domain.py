"""CAA, BIMI, SRV for mail programs and the stages of DMARC say what we mean."""

from __future__ import annotations

import checkdmarc.bimi
import pytest

from maildns.errors import RecordError
from maildns.planning.guards import Limits, Refusal, refusals, unannounced
from maildns.planning.order import announces
from maildns.policy.autoconfig import NOT_OFFERED, SERVICES, services
from maildns.policy.bimi import Bimi, too_weak
from maildns.policy.caa import Caa, Issuer, parse_caa
from maildns.policy.dmarc import STAGES, Dmarc
from maildns.policy.hosts import alias
from maildns.provider import Change
from maildns.records import canonical_value, rrset

LETS_ENCRYPT = Issuer("letsencrypt.org.", "https://acme.example/acct/7", ("dns-01", "http-01"), wildcard=True)
OTHER = Issuer("ca.example.")


def values(caa: Caa) -> list[str]:
    found = [entry.value for entry in caa.entries("example.org.")]
    assert [canonical_value("CAA", value) for value in found] == found
    return found


def test_who_may_issue_and_on_what_conditions():
    conditions = "letsencrypt.org; accounturi=https://acme.example/acct/7; validationmethods=dns-01,http-01"
    assert values(Caa((LETS_ENCRYPT, OTHER), ("mailto:security@example.org",))) == [
        f'0 issue "{conditions}"',
        f'0 issuewild "{conditions}"',
        '0 issue "ca.example"',
        '0 iodef "mailto:security@example.org"',
    ]


def test_wildcards_are_forbidden_unless_an_issuer_may():
    assert values(Caa((OTHER,))) == ['0 issue "ca.example"', '0 issuewild ";"']
    assert values(Caa()) == ['0 issue ";"', '0 issuewild ";"']


@pytest.mark.parametrize(
    "caa", [Caa(), Caa((OTHER,)), Caa((OTHER, LETS_ENCRYPT), ("https://x.example/caa",))]
)
def test_published_caa_is_read_back(caa):
    assert parse_caa(values(caa)) == caa


def test_without_issuewild_whoever_may_issue_may_issue_wildcards():
    assert parse_caa(['0 issue "ca.example"', '0 contactemail "a@example.org"']).issuers[0].wildcard


@pytest.mark.parametrize(
    ("caa", "said"),
    [
        (Caa((Issuer("relative"),)), "ends in a dot"),
        (Caa((Issuer("ca.example.", accounturi="https://x;y"),)), "not a CAA parameter"),
        (Caa((Issuer("ca.example.", accounturi='https://x"y'),)), "not a CAA parameter"),
        (Caa((Issuer("ca.example.", validationmethods=("a b",)),)), "not a CAA parameter"),
        (Caa(iodef=("security@example.org",)), "not a mailto: or http"),
    ],
)
def test_caa_that_cannot_be_written_is_refused(caa, said):
    with pytest.raises(RecordError, match=said):
        list(caa.entries("example.org."))


@pytest.mark.parametrize("value", ["issue", '0 issue "ca.example; x"'])
def test_what_is_no_caa_value_says_so(value):
    with pytest.raises(RecordError, match="not a CAA"):
        parse_caa([value])


LOGO = Bimi("https://example.org/logo.svg", "https://example.org/vmc.pem")


def test_a_bimi_record_is_read_back():
    assert LOGO.text == "v=BIMI1; l=https://example.org/logo.svg; a=https://example.org/vmc.pem"
    for record in (LOGO, Bimi(LOGO.logo), Bimi("")):
        assert Bimi.parse(record.text) == record
    assert LOGO.entry("example.org.", Dmarc("quarantine"), "winter").name == "winter._bimi.example.org."


def test_checkdmarc_reads_the_logo_as_we_meant_it():
    record = Bimi("https://127.0.0.1:1/logo.svg")  # it tries to fetch the logo: nobody is there
    tags = checkdmarc.bimi.parse_bimi_record(record.text)["tags"]
    assert {name: tag["value"] for name, tag in tags.items()} == {"v": "BIMI1", "l": record.logo, "a": ""}


@pytest.mark.parametrize("policy", [Dmarc(), Dmarc("reject", "none")])
def test_no_logo_without_a_policy_that_proves_the_sender(policy):
    assert too_weak(policy)
    with pytest.raises(RecordError, match=r"example\.org: BIMI needs"):
        LOGO.entry("example.org.", policy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=BIMI2; l=", "not a BIMI record"),
        ("v=BIMI1; l=http://x/", "not an https"),
        ("v=BIMI1; l", "tag=value"),
    ],
)
def test_a_bimi_record_that_providers_ignore_says_why(text, said):
    with pytest.raises(RecordError, match=said):
        Bimi.parse(text)


def test_mail_programs_prefer_tls_from_the_first_octet_and_the_first_host():
    hosts = ["out1.example.org.", "Out2.example.org."]
    found = {name: [e.value for e in services("example.org.", name, hosts)] for name in SERVICES}
    assert found["submissions"] == ["0 1 465 out1.example.org.", "1 1 465 out2.example.org."]
    assert found["submission"] == ["10 1 587 out1.example.org.", "11 1 587 out2.example.org."]
    assert int(found["imaps"][0].split()[0]) < int(found["imap"][0].split()[0])
    assert int(found["pop3s"][0].split()[0]) < int(found["pop3"][0].split()[0])


def test_what_is_not_offered_is_said_so():
    (entry,) = services("example.org.", "imap", [])
    assert (entry.name, entry.value) == ("_imap._tcp.example.org.", NOT_OFFERED)
    assert canonical_value("SRV", NOT_OFFERED) == NOT_OFFERED


@pytest.mark.parametrize("hosts", [["a.example.", "A.example."], [f"n{n}.example." for n in range(11)]])
def test_a_service_has_few_and_different_hosts(hosts):
    with pytest.raises(RecordError, match="at most 10 hosts, each once"):
        list(services("example.org.", "imap", hosts))


def test_an_alias_points_at_somebody_elses_host():
    assert alias("click.example.org.", "t.example.net.", "why").type == "CNAME"


@pytest.mark.parametrize(
    "policy",
    [
        Dmarc(),
        Dmarc(
            "reject", "quarantine", ("mailto:a@example.org", "mailto:b@example.net!1m"), alignment="strict"
        ),
        Dmarc("quarantine", ruf=("mailto:c@example.org",)),
    ],
)
def test_a_dmarc_record_is_read_back(policy):
    assert Dmarc.parse(policy.text) == policy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=DMARC2; p=none", "not a DMARC record"),
        ("v=DMARC1; rua=mailto:a@example.org", "not left out"),
        ("v=DMARC1; p=refuse", "not refuse"),
    ],
)
def test_a_dmarc_record_that_receivers_ignore_says_why(text, said):
    with pytest.raises(RecordError, match=said):
        Dmarc.parse(text)


NAME = "_dmarc.example.org."


def change(before, after, name=NAME, type_="TXT"):
    sides = (rrset(name, type_, 60, side) if side else None for side in (before, after))
    return Change(*sides, reason="")


def flags(*changes):
    return [r.flag for r in refusals("example.org.", changes, owned=9, gone=0, limits=Limits())]


@pytest.mark.parametrize("before", STAGES)
@pytest.mark.parametrize("after", STAGES)
def test_a_policy_grows_stricter_one_step_at_a_time(before, after):
    jump = (before, after) == ("none", "reject")
    expected = ["dmarc-jump=example.org."] if jump else []
    assert flags(change([Dmarc(before).text], [Dmarc(after).text])) == expected
    below = [Dmarc("reject", policy).text for policy in (before, after)]
    assert flags(change(below[:1], below[1:])) == expected


def test_a_first_policy_may_be_any():
    assert flags(change(None, [Dmarc("reject").text])) == []
    assert flags(change(["no policy at all"], [Dmarc("reject").text])) == []
    assert flags(change([Dmarc("reject").text], None)) == []


def test_a_jump_says_what_is_in_between():
    (refusal,) = refusals(
        "example.org.",
        [change([Dmarc("none").text], [Dmarc("reject", "quarantine").text])],
        owned=9,
        gone=0,
        limits=Limits(),
    )
    assert refusal.sentence == (
        "example.org. would go from none to reject (sp=quarantine) without quarantine in between"
    )


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (["v=STSv1; id=1;"], None, True),
        (["v=STSv1; id=1;", "of others"], ["of others"], True),
        (["v=STSv1; id=1;"], ["v=STSv1; id=2;"], False),
        (["of others"], None, False),
        (None, ["v=STSv1; id=1;"], False),
    ],
)
def test_senders_are_told_before_a_policy_for_tls_goes(before, after, refused):
    assert flags(change(before, after, "_mta-sts.example.org.")) == ["mta-sts=example.org."] * refused
    assert flags(change(before, after, "example.org.")) == []


PIN = "_25._tcp.mx.example.org."
A, B, C = (f"3 1 1 {digit * 64}" for digit in "abc")


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ([A], [A, B], False),  # the next key is announced
        ([A, B], [B], False),  # the old one goes, once no server uses it
        (None, [A], False),
        ([A], [B], True),
        ([A], [B, C], True),
        ([A], None, True),
    ],
)
def test_a_pinned_key_rolls_over_by_way_of_both(before, after, refused):
    expected = [f"tlsa={PIN}"] if refused else []
    assert flags(change(before, after, PIN, "TLSA")) == expected


@pytest.mark.parametrize(("held", "refused"), [([A], True), ([A, B], False), (None, False)])
def test_a_key_is_used_only_once_the_world_has_its_record(held, refused):
    sets = [rrset(PIN, "TLSA", 60, held)] if held else []
    found = list(unannounced(sets, {PIN: frozenset({B})}))
    assert [r.flag for r in found] == ([f"tlsa={PIN}"] if refused else [])
    assert all(isinstance(r, Refusal) and "60 s" in r.sentence for r in found)


@pytest.mark.parametrize(
    ("unit", "waits"),
    [
        (change(None, [A], PIN, "TLSA"), True),
        (change([A], [A, B], PIN, "TLSA"), False),
        (change(["v=STSv1; id=1;"], ["v=STSv1; id=2;"], "_mta-sts.example.org."), True),
        (change(["v=STSv1; id=1;"], None, "_mta-sts.example.org."), False),
        (change(None, ["v=spf1 -all"], "example.org."), False),
    ],
)
def test_what_hosts_must_already_do_is_announced_after_them(unit, waits):
    assert announces([unit]) is waits
