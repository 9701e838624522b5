"""Pages, odd spellings, TTLs, tokens and the environment: what is read, and with what."""

from __future__ import annotations

import httpx
import pytest

from maildns.provider import ProviderError
from maildns.providers.cloudflare.codec import fields_of, value_of
from maildns.records import rrset
from tests.dns.at_cloudflare.zone import SPF, ZONE, A, make, publish
from tests.dns.cloudflare import add, delete
from tests.dns.cloudflare_fake.server import TOKEN

pytestmark = pytest.mark.usefixtures("zone")


@pytest.mark.parametrize("mishap", ["502", "cut", "429 5"])
def test_a_question_is_asked_again(cloudflare, zone, provider, mishap):
    add(zone, (f"a.{ZONE} 300 A 192.0.2.1",))
    cloudflare.mishaps["zones"] += [mishap]
    cloudflare.mishaps["records"] += [mishap] * 3
    assert [r.name for r in provider.fetch(ZONE).rrsets] == [f"a.{ZONE}"]


@pytest.mark.parametrize(
    "content", [{"success": False, "result": None, "errors": [{"code": 10000, "message": "Busy."}]}, []]
)
def test_an_answer_that_is_none_is_one_line(provider, monkeypatch, content):
    monkeypatch.setattr(httpx.Response, "json", lambda _: content)
    with pytest.raises(ProviderError, match=r"Busy|not what the API promises") as error:
        provider.fetch(ZONE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["goes", "comes"])
def test_a_zone_that_changes_between_two_pages_is_read_again(cloudflare, zone, clock, how):
    """Neither the record that went is reported, nor one forgotten that slid over the edge."""
    zone.most_records = 1000
    add(zone, [f"n{n}.{ZONE} 300 A 192.0.2.1" for n in range(250)])
    provider = make(cloudflare, clock, page=100)
    answer, edits = cloudflare.answer, []

    def edited(method, path, query, body, token):
        if query.get("page") == "2" and not edits:
            edits.append(how)
            if how == "goes":
                delete(zone, (f"n0.{ZONE} 300 A 192.0.2.1",))
            else:
                add(zone, (f"n250.{ZONE} 300 A 192.0.2.1",))
        return answer(method, path, query, body, token)

    cloudflare.answer = edited
    assert {r.name for r in provider.fetch(ZONE).rrsets} == {f"{r['name']}." for r in zone.records.values()}
    assert edits
    assert cloudflare.calls["records"] == 6


def test_ttls_are_folded_and_automatic_is_what_the_world_sees(zone, provider):
    add(zone, (f"a.{ZONE} 1 A 192.0.2.1", f"a.{ZONE} 900 A 192.0.2.2"))
    (held,) = provider.fetch(ZONE).rrsets
    assert held == rrset(f"a.{ZONE}", "A", 300, ["192.0.2.1", "192.0.2.2"])


def test_a_neighbour_keeps_his_ttl_in_a_set_that_we_share(zone, provider):
    add(zone, (f'{ZONE} 900 TXT "theirs=1"', f'{ZONE} 3600 TXT "theirs=2"'))
    publish(provider, [SPF])
    publish(provider, [rrset(ZONE, "TXT", 300, ["v=spf1 mx -all"])])
    ttls = {r["content"]: r["ttl"] for r in zone.records.values()}
    assert ttls == {'"theirs=1"': 900, '"theirs=2"': 3600, '"v=spf1 mx -all"': 900}


def test_records_in_odd_spellings_are_read_as_what_they_are(zone, provider):
    zone.post({"name": "plain", "type": "TXT", "content": "v=DMARC1; p=none"})
    zone.post({"name": "bücher", "type": "MX", "content": "Mail.Example.NET", "priority": 10.0, "ttl": 600.0})
    zone.post({"name": "loc", "type": "LOC", "content": "not one that we read"})
    held = {r.key: r.rdata for r in provider.fetch(ZONE).rrsets}
    assert held == {
        (f"plain.{ZONE}", "TXT"): {"v=DMARC1; p=none"},
        (f"xn--bcher-kva.{ZONE}", "MX"): {"10 mail.example.net."},
        (f"loc.{ZONE}", "LOC"): {"not one that we read"},
    }


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("SRV", "0 1 465 mail.example.net."),
        ("SRV", "0 0 0 ."),
        ("CAA", r'0 issue "a \"quoted\" word; x=\\"'),
        ("TLSA", "3 1 1 " + "0a" * 32),
        ("SSHFP", "4 2 " + "0a" * 32),
    ],
)
def test_numbers_may_come_back_as_fractions(type_, value):
    fields = fields_of(type_, value)["data"]
    floats = {key: float(v) if isinstance(v, int) else v for key, v in fields.items()}
    assert value_of({"type": type_, "data": floats}) == value
    assert value_of({"type": "MX", "content": "mail.example.net", "priority": 10.0}) == "10 mail.example.net."


def test_a_zone_that_the_token_is_not_for(cloudflare, clock):
    cloudflare.account.add("other.example")
    provider = make(cloudflare, clock, token=cloudflare.token("other.example"))
    provider.fetch("other.example.")
    with pytest.raises(ProviderError, match=r"token sees no zone cf\.example\."):
        provider.fetch(ZONE)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("y" * 40, r"Invalid access token \(9109\); the token needs Zone:Read and DNS:Edit"),
        ("w" * 12, r"\(6111\); the token"),
    ],
)
def test_a_token_that_is_not_accepted_is_one_line_without_it(cloudflare, clock, token, said):
    provider = make(cloudflare, clock, token=token)
    with pytest.raises(ProviderError, match=said) as error:
        provider.fetch(ZONE)
    assert "\n" not in str(error.value)
    assert token not in str(error.value)
    assert token not in repr(provider)


@pytest.mark.parametrize("token", ["", "two words", "two\nlines", "tökens"])
def test_what_can_be_no_token_is_not_sent_and_not_shown(cloudflare, clock, token):
    provider = make(cloudflare, clock, token=token)
    with pytest.raises(ProviderError, match=r"^Cloudflare's API token is none: there are blanks") as error:
        provider.fetch(ZONE)
    assert not token or token not in str(error.value)
    assert cloudflare.headers == []


def test_a_token_that_lost_a_zone_since_the_zones_were_listed(cloudflare, clock):
    provider = make(cloudflare, clock)
    provider.fetch(ZONE)
    cloudflare.account.tokens[provider.token] = {"other.example"}
    with pytest.raises(ProviderError, match=r"Authentication error \(10000\); the token needs"):
        provider.fetch(ZONE)


def test_a_listing_that_failed_is_taken_up_again(cloudflare, provider):
    cloudflare.mishaps["zones"] += ["502"] * 4
    with pytest.raises(ProviderError, match="listing the zones at Cloudflare: HTTP 502"):
        provider.fetch(ZONE)
    assert provider.fetch(ZONE).rrsets == ()


@pytest.mark.parametrize("moved", [0, 1])
def test_the_zone_in_force_is_taken_where_two_accounts_have_it(cloudflare, zone, clock, moved):
    both = [zone, cloudflare.account.add(zone.name)]
    both[moved].status = "moved"
    add(both[1 - moved], (f"a.{ZONE} 300 A 192.0.2.1",))
    assert [r.name for r in make(cloudflare, clock).fetch(ZONE).rrsets] == [f"a.{ZONE}"]


def test_the_environment_changes_nothing_that_is_sent(cloudflare, clock, monkeypatch):
    make(cloudflare, clock).fetch(ZONE)
    plain = [{k.lower() for k in sent} for sent in cloudflare.headers]
    cloudflare.headers.clear()
    for name, value in {
        "CLOUDFLARE_EMAIL": "somebody@example.org",
        "CLOUDFLARE_API_KEY": "0" * 37,
        "CLOUDFLARE_API_TOKEN": "z" * 40,
        "CLOUDFLARE_API_USER_SERVICE_KEY": "v1.0-x",
        "CLOUDFLARE_BASE_URL": "http://127.0.0.1:1/",
        "CLOUDFLARE_CUSTOM_HEADERS": "authorization: Bearer stolen\nX-Else: 1",
    }.items():
        monkeypatch.setenv(name, value)
    provider = make(cloudflare, clock)
    publish(provider, [A])
    for sent in cloudflare.headers:
        assert sent["Authorization"] == f"Bearer {provider.token}"
    assert [{k.lower() for k in sent} for sent in cloudflare.headers[:2]] == plain
    assert TOKEN.fullmatch(provider.token)


def test_nobody_who_redirects_us_gets_the_token(cloudflare, provider):
    cloudflare.mishaps["zones"].append("307")
    with pytest.raises(ProviderError, match="listing the zones at Cloudflare: HTTP 307"):
        provider.fetch(ZONE)
    assert len(cloudflare.headers) == 1
