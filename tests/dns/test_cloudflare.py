"""What is peculiar to Cloudflare: batches whose fate is unknown, rates, the proxy, comments, tokens."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from maildns.cloudflare import Cloudflare
from maildns.cloudflare.codec import fields_of, value_of
from maildns.cloudflare.pace import RESERVE, Pace, retry_after
from maildns.cloudflare.writes import Limits, operations
from maildns.errors import MaildnsError
from maildns.ownership import is_marker_name
from maildns.plan import plan_zone
from maildns.provider import Change, ConflictError, ProviderError
from maildns.records import rrset
from mailwright.model import providers as model
from mailwright.providers import _open
from tests.dns.cloudflare import add, delete
from tests.dns.cloudflare_fake.server import REQUESTS, TOKEN

ZONE = "cf.example."
A = rrset(f"mail.{ZONE}", "A", 300, ["192.0.2.1"])
SPF = rrset(ZONE, "TXT", 300, ["v=spf1 a -all"])

pytestmark = pytest.mark.usefixtures("zone")


@pytest.fixture
def zone(cloudflare):
    """A zone on the free plan."""
    return cloudflare.account.add(ZONE.removesuffix("."))


@pytest.fixture
def provider(cloudflare, clock):
    return make(cloudflare, clock)


def make(cloudflare, clock, **options: object) -> Cloudflare:
    options = {"token": cloudflare.token(), "endpoint": cloudflare.endpoint, "timeout": 5.0} | options
    return Cloudflare(clock=clock, sleep=clock.sleep, **options)


def plan(provider, desired, owner="us", **options):
    return plan_zone(provider.fetch(ZONE), desired, owner, **options)


def publish(provider, desired, owner="us", **options):
    made = plan(provider, desired, owner, **options)
    assert not made.blocked, made
    provider.apply(ZONE, made.changes, made.etag)
    assert plan(provider, desired, owner).changes == ()
    return made


def comments(zone) -> dict[str, str | None]:
    return {r["content"]: r["comment"] for r in zone.records.values()}


# A batch and its fate


@pytest.mark.parametrize("mishap", ["done, 502", "done, cut", "done, hang"])
def test_a_batch_that_was_carried_out_unanswered_is_not_sent_again(cloudflare, clock, mishap):
    provider = make(cloudflare, clock, timeout=0.3 if "hang" in mishap else 5.0)
    made = plan(provider, [A, SPF])
    cloudflare.mishaps["batch"].append(mishap)
    provider.apply(ZONE, made.changes, made.etag)
    assert cloudflare.calls["batch"] == 1
    assert plan(provider, [A, SPF]).changes == ()


@pytest.mark.parametrize("mishap", ["502", "cut"])
def test_a_batch_that_was_not_carried_out_is_sent_again(cloudflare, provider, mishap):
    cloudflare.mishaps["batch"] += [mishap, mishap]
    publish(provider, [A, SPF])
    assert cloudflare.calls["batch"] == 3


def test_a_server_that_stays_broken_is_one_line_and_nothing_is_done(cloudflare, zone, provider):
    made = plan(provider, [A])
    cloudflare.mishaps["batch"] += ["502"] * 10
    with pytest.raises(
        ProviderError, match=r"^changing cf\.example\. at Cloudflare: HTTP 502; nothing was done$"
    ):
        provider.apply(ZONE, made.changes, made.etag)
    assert zone.records == {}
    assert cloudflare.calls["batch"] == 4


def test_a_batch_that_arrives_after_it_was_given_up_is_not_done_twice(cloudflare, zone, provider):
    """The first copy takes effect while the second is under way, which is refused as identical."""
    made = plan(provider, [A, SPF])
    lost = operations(made.changes, provider._state(ZONE), Limits.of_plan("free"), comments=True)
    cloudflare.mishaps["batch"].append("502")
    cloudflare.before_batch.append(lambda: zone.batch(vars(lost)))
    provider.apply(ZONE, made.changes, made.etag)
    assert (len(zone.records), cloudflare.calls["batch"]) == (2, 2)
    assert plan(provider, [A, SPF]).changes == ()


def test_what_somebody_else_did_beside_a_doubtful_batch_is_told_record_by_record(cloudflare, zone, provider):
    made = plan(provider, [A, SPF])
    cloudflare.mishaps["batch"].append("done, 502")
    fetch = cloudflare.answer

    def edit_before_the_next_reading(method, path, query, body, token):
        if method == "GET" and cloudflare.calls["batch"] == 1:
            cloudflare.answer = fetch
            (record,) = zone.at("mail.cf.example")
            zone.delete(record["id"])
        return fetch(method, path, query, body, token)

    cloudflare.answer = edit_before_the_next_reading
    with pytest.raises(ProviderError, match=r"There is cf\.example\. TXT.* and not mail\.cf\.example\. A"):
        provider.apply(ZONE, made.changes, made.etag)


def test_when_nobody_can_be_asked_afterwards_that_is_said(cloudflare, provider):
    made = plan(provider, [A])
    cloudflare.mishaps["batch"].append("done, cut")
    cloudflare.before_batch.append(lambda: cloudflare.mishaps["records"].extend(["502"] * 4))
    with pytest.raises(ProviderError, match="what became of the changes is not known"):
        provider.apply(ZONE, made.changes, made.etag)
    assert plan(provider, [A]).changes == ()  # it was done, and the next plan sees so


def test_an_edit_in_the_moment_between_reading_and_writing_is_a_conflict(cloudflare, zone, provider):
    """Our record goes, or the very record that we add comes: the batch as a whole is refused."""
    publish(provider, [A])
    b = rrset(f"b.{ZONE}", "A", 300, ["192.0.2.2"])
    moved = rrset(A.name, "A", 300, ["192.0.2.9"])
    for edit in (
        lambda: delete(zone, (f"mail.{ZONE} 300 A 192.0.2.1",)),
        lambda: add(zone, (f"b.{ZONE} 300 A 192.0.2.2",)),
    ):
        made = plan(provider, [moved, b])
        cloudflare.before_batch.append(edit)
        with pytest.raises(
            ConflictError, match="changed by somebody else meanwhile; nothing was done, plan again"
        ):
            provider.apply(ZONE, made.changes, made.etag)
        assert "192.0.2.9" not in comments(zone)
        publish(provider, [A])


def test_a_later_batch_is_refused_where_its_sets_moved_and_what_was_done_is_told(cloudflare, zone, clock):
    provider = make(cloudflare, clock, operations=10)
    wanted = [rrset(f"n{n:02}.{ZONE}", "A", 300, ["192.0.2.1"]) for n in range(25)]
    made = plan(provider, wanted)
    cloudflare.before_batch.append(lambda: add(zone, (f"n24.{ZONE} 300 A 192.0.2.66",)))
    with pytest.raises(ProviderError, match=r"\(2 of 3 batches were taken before\)"):
        provider.apply(ZONE, made.changes, made.etag)
    left = plan(provider, wanted)
    assert [c.key for c in left.conflicts] == [(f"n24.{ZONE}", "A")]
    assert {c.key[0] for c in left.changes if not is_marker_name(c.key[0], ZONE)} == {
        f"n{n}.{ZONE}" for n in range(20, 24)
    }
    assert "192.0.2.66" in comments(zone)


def test_a_refusal_is_the_apis_own_words_and_nothing_is_done(zone, provider):
    add(zone, (f"x.{ZONE} 300 NS ns.example.net.",))
    made = plan(provider, [A])
    forbidden = Change(None, rrset(f"x.{ZONE}", "A", 300, ["192.0.2.5"]), "", unit="x")
    with pytest.raises(
        ProviderError, match=r"NS records with that host already exist \(81056\); nothing was done"
    ):
        provider.apply(ZONE, [*made.changes, forbidden], made.etag)
    assert list(comments(zone)) == ["ns.example.net"]


def test_more_at_one_name_than_a_batch_holds_is_told_beforehand(cloudflare, zone, clock):
    provider = make(cloudflare, clock, operations=10)
    made = plan(provider, [rrset(f"many.{ZONE}", "A", 300, [f"192.0.2.{n}" for n in range(11)])])
    with pytest.raises(ProviderError, match=r"many\.cf\.example\.: 11 records to write at once"):
        provider.apply(ZONE, made.changes, made.etag)
    assert zone.records == {}


def test_the_size_of_a_batch_follows_from_the_zones_plan(cloudflare, clock):
    for plan_name, batches in (("free", 2), ("enterprise", 1)):
        zone = cloudflare.account.add(f"{plan_name}.example", plan_name)
        zone.most_records = 1000  # as zones on the free plan had before September 2024
        provider, name = make(cloudflare, clock), f"{plan_name}.example."
        wanted = [rrset(f"n{n}.{name}", "A", 300, ["192.0.2.1"]) for n in range(201)]
        made = plan_zone(provider.fetch(name), wanted, "us")
        before = cloudflare.calls["batch"]
        provider.apply(name, made.changes, made.etag)
        assert cloudflare.calls["batch"] - before == batches


def test_a_value_that_takes_anothers_place_keeps_the_record_and_its_tags(cloudflare, clock):
    zone = cloudflare.account.add("paid.example", "pro")
    zone.post({"name": "mail", "type": "A", "content": "192.0.2.1", "ttl": 300, "tags": ["team:mail"]})
    provider = make(cloudflare, clock)
    for value in ("192.0.2.1", "192.0.2.2"):
        wanted = [rrset("mail.paid.example.", "A", 300, [value])]
        made = plan_zone(provider.fetch("paid.example."), wanted, "us")
        provider.apply("paid.example.", made.changes, made.etag)
    (record,) = zone.records.values()
    assert (record["content"], record["tags"]) == ("192.0.2.2", ["team:mail"])


# Rates


@pytest.mark.parametrize("wait", ["7", "90", "900"])
def test_a_wait_that_is_asked_for_is_waited_however_long(cloudflare, clock, wait):
    said = []
    provider = make(cloudflare, clock, say=said.append)
    cloudflare.mishaps["records"].append(f"429 {wait}")
    cloudflare.mishaps["batch"].append(f"429 {wait}")
    publish(provider, [A])
    assert clock.slept == [float(wait)] * 2
    assert said == [f"waiting {wait} s for Cloudflare's rate limit"] * 2
    assert cloudflare.calls["batch"] == 2


def test_without_a_time_each_wait_is_longer_and_none_beyond_the_window(cloudflare, provider, clock):
    cloudflare.mishaps["records"] += ["429"] * 10
    provider.fetch(ZONE)
    assert all(a < b for a, b in zip(clock.slept[:7], clock.slept[1:7], strict=False))
    assert all(wait < 400 for wait in clock.slept)
    assert len(clock.slept) == 10


def test_refusals_without_end_are_one_line(cloudflare, provider):
    cloudflare.mishaps["records"] += ["429"] * 50
    with pytest.raises(ProviderError, match="no more requests"):
        provider.fetch(ZONE)


def test_a_wait_of_more_than_an_hour_is_left_to_the_operator(cloudflare, provider, clock):
    cloudflare.mishaps["records"].append("429 86400")
    with pytest.raises(ProviderError, match="for another 86400 s"):
        provider.fetch(ZONE)
    assert clock.slept == []


def test_a_batch_refused_for_its_rate_is_refused_for_good_when_the_zone_moved_meanwhile(
    cloudflare, zone, provider, clock
):
    made = plan(provider, [A])
    cloudflare.mishaps["batch"].append("429 30")
    sleep = clock.sleep

    def edited_while_we_waited(seconds: float) -> None:
        sleep(seconds)
        add(zone, (f"b.{ZONE} 300 A 192.0.2.2",))

    object.__setattr__(provider._api.pace, "sleep", edited_while_we_waited)
    with pytest.raises(ConflictError, match="nothing was done"):
        provider.apply(ZONE, made.changes, made.etag)
    assert list(comments(zone)) == ["192.0.2.2"]


def test_a_window_that_is_nearly_used_up_is_waited_out_before_anything_is_refused(
    cloudflare, provider, clock
):
    """The dashboard used it up."""
    cloudflare.used[provider.token] = (clock.now, REQUESTS - 20)
    for _ in range(40):
        provider.fetch(ZONE)
    assert len(clock.slept) == 1
    assert cloudflare.calls["records"] == 40


def test_threads_wait_together_and_are_counted_once(cloudflare, clock):
    said = []
    provider = make(cloudflare, clock, say=said.append)
    provider.fetch(ZONE)
    cloudflare.mishaps["records"] += ["429 60"]
    with ThreadPoolExecutor(8) as pool:
        assert len({s.etag for s in pool.map(provider.fetch, [ZONE] * 24)}) == 1
    assert len(said) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("12", 12.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_a_wait_is_a_number_or_a_date(header, seconds):
    assert retry_after({"retry-after": header}) == seconds
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    assert 500 < (retry_after({"retry-after": later}) or 0) <= 600


def test_the_reserve_is_left_to_others(clock):
    pace = Pace(clock=clock, sleep=clock.sleep)
    pace.answered({"ratelimit": f'"default";r={RESERVE + 1};t=30'})
    pace.wait()
    pace.answered({"ratelimit": f'"burst";r=50;t=2, "default";r={RESERVE};t=30'})
    pace.wait()
    assert clock.slept == [30.0]


# Reading


@pytest.mark.parametrize("mishap", ["502", "cut", "429 5"])
def test_a_question_is_asked_again(cloudflare, zone, provider, mishap):
    add(zone, (f"a.{ZONE} 300 A 192.0.2.1",))
    cloudflare.mishaps["zones"] += [mishap]
    cloudflare.mishaps["records"] += [mishap] * 3
    assert [r.name for r in provider.fetch(ZONE).rrsets] == [f"a.{ZONE}"]


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


# Tokens


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


# The proxy


def test_an_address_behind_the_proxy_is_a_conflict_that_adopting_resolves(zone, provider):
    add(zone, (f"mail.{ZONE} 300 A 192.0.2.1",), proxied=True)
    made = plan(provider, [A])
    assert [c.sentence for c in made.conflicts] == [
        "holds 192.0.2.1 (through Cloudflare's proxy, which mail cannot pass), which is not ours"
    ]
    publish(provider, [A], adopt={A.key})
    (record,) = zone.records.values()
    assert (record["proxied"], record["ttl"], record["content"]) == (False, 300, "192.0.2.1")


def test_turning_the_proxy_on_for_one_of_our_records_is_a_conflict(zone, provider):
    publish(provider, [A])
    (record,) = zone.records.values()
    zone.patch(record["id"], {"proxied": True})
    assert ["which mail cannot pass" in c.sentence for c in plan(provider, [A]).conflicts] == [True]


def test_a_proxied_address_of_the_other_family_is_a_conflict_too(zone, provider):
    add(zone, (f"mail.{ZONE} 300 AAAA 2001:db8::66",), proxied=True)
    (conflict,) = plan(provider, [A]).conflicts
    assert "of the AAAA record beside it (through Cloudflare's proxy" in conflict.sentence


def test_a_proxied_website_is_nobodys_business(zone, provider):
    add(zone, (f"{ZONE} 300 A 192.0.2.80", f"www.{ZONE} 300 CNAME {ZONE}"), proxied=True)
    publish(provider, [A, SPF, rrset(ZONE, "MX", 300, [f"10 {A.name}"])])
    assert sum(r["proxied"] for r in zone.records.values()) == 2


# Ownership in comments


def test_ownership_is_in_comments_and_no_record_is_published_for_it(zone, provider):
    publish(provider, [A, SPF])
    assert sorted(r["name"] for r in zone.records.values()) == ["cf.example", "mail.cf.example"]
    assert all(c.startswith("maildns1 owner=us value=") for c in comments(zone).values())


def test_what_somebody_wrote_into_a_comment_stays(zone, provider):
    add(zone, (f"mail.{ZONE} 300 A 192.0.2.1",), comment="rack 4 | ask Facilities")
    publish(provider, [A])
    publish(provider, [rrset(A.name, "A", 600, ["192.0.2.2"])])
    assert comments(zone)["192.0.2.2"].startswith("rack 4 | ask Facilities | maildns1 owner=us value=")


def test_where_a_comment_has_no_room_the_set_is_marked_by_a_record(zone, provider):
    add(zone, (f"mail.{ZONE} 300 A 192.0.2.1",), comment="x" * 90)
    two = rrset(A.name, "A", 300, ["192.0.2.1", "192.0.2.2"])
    publish(provider, [two], adopt={A.key})
    assert comments(zone)["192.0.2.1"] == "x" * 90
    assert comments(zone)["192.0.2.2"] is None
    assert [r["name"].split(".")[1] for r in zone.records.values() if r["type"] == "TXT"] == ["_maildns"]
    publish(provider, [rrset(A.name, "A", 300, ["192.0.2.2"])])  # and back as soon as there is room
    assert len(zone.records) == 1
    assert comments(zone)["192.0.2.2"].startswith("maildns1 owner=us value=")
    publish(provider, [])
    assert zone.records == {}


def test_a_name_of_an_owner_too_long_for_a_comment_is_no_obstacle(zone, provider):
    owner = "o" * 63
    publish(provider, [A], owner)
    publish(provider, [], owner)
    assert zone.records == {}


def test_a_paid_plan_has_room_for_longer_comments(cloudflare, clock):
    zone = cloudflare.account.add("paid.example", "business")
    zone.post({"name": "mail", "type": "A", "content": "192.0.2.1", "ttl": 300, "comment": "x" * 400})
    provider = make(cloudflare, clock)
    made = plan_zone(
        provider.fetch("paid.example."), [rrset("mail.paid.example.", "A", 300, ["192.0.2.1"])], "us"
    )
    provider.apply("paid.example.", made.changes, made.etag)
    assert len(zone.records) == 1


def test_an_edit_by_hand_keeps_the_comment_and_is_seen(zone, provider):
    publish(provider, [A])
    (record,) = zone.records.values()
    zone.patch(record["id"], {"content": "192.0.2.66"})
    assert [c.key for c in plan(provider, [A]).conflicts] == [A.key]
    letting_go = plan(provider, [])
    provider.apply(ZONE, letting_go.changes, letting_go.etag)
    assert comments(zone) == {"192.0.2.66": None}


def test_two_owners_know_their_values_of_one_set_apart(zone, provider):
    publish(provider, [rrset(ZONE, "TXT", 300, ["v=spf1 a -all"])], "us")
    publish(provider, [rrset(ZONE, "TXT", 300, ["site-verification=x"])], "them")
    assert [c.sentence for c in plan(provider, [SPF], "them").conflicts] == [
        "holds v=spf1 a -all, published by us"
    ]
    publish(provider, [], "us")
    assert list(comments(zone)) == ['"site-verification=x"']


def test_the_kind_of_ownership_can_be_changed_in_both_directions(cloudflare, zone, clock, provider):
    records = make(cloudflare, clock, comments=False)
    publish(records, [A])
    assert len(zone.records) == 2
    assert plan(provider, [A]).changes == ()
    moved = rrset(A.name, "A", 300, ["192.0.2.2"])
    publish(provider, [moved])
    assert len(zone.records) == 1
    assert plan(records, [moved]).changes == ()
    publish(records, [A])
    assert sorted(comments(zone).values(), key=str) == [None, None]
    publish(provider, [])
    assert zone.records == {}


# What cannot be held


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (rrset("a.example.", "TXT", 300, ["x" * 4081]), "a record of more than 4096 octets"),
        (
            rrset("a.example.", "TXT", 300, ["x" * 4000 + str(n) for n in range(3)]),
            "more than 8192 characters",
        ),
        (rrset("a.example.", "LOC", 300, ["52 22 23.000 N 4 53 32.000 E -2.00m"]), "no records of this type"),
        (rrset("a.example.", "A", 30, ["192.0.2.1"]), "TTL 30 is outside 60 to 86400"),
        (rrset("a.example.", "A", 86401, ["192.0.2.1"]), "TTL 86401 is outside"),
        (rrset("a.example.", "TXT", 300, [""]), "no empty text"),
    ],
)
def test_what_cannot_be_held_is_told_and_would_be_refused(zone, provider, each, said):
    (sentence,) = provider.audit([each])
    assert sentence.startswith(f"{each.name} {each.type}: ")
    assert said in sentence
    moved = rrset(f"a.{ZONE}", each.type, each.ttl, each.rdata)
    with pytest.raises(MaildnsError, match=r"nothing was done|not written through"):
        provider.apply(ZONE, [Change(None, moved, "", "a")], provider.fetch(ZONE).etag)
    assert zone.records == {}


def test_the_largest_that_can_be_held_is_held(provider):
    wanted = [rrset(f"a.{ZONE}", "TXT", 86400, ["x" * 4080])]
    assert provider.audit(wanted) == ()
    publish(provider, wanted)


def test_many_threads_read_and_write_through_one_provider(cloudflare, clock):
    names = [f"z{n}.example." for n in range(120)]
    for name in names:
        cloudflare.account.add(name.removesuffix("."))
    provider = make(cloudflare, clock)
    barrier = threading.Barrier(8)

    def work(name: str) -> None:
        if name in names[:8]:
            barrier.wait(10)
        wanted = [rrset(f"mail.{name}", "A", 300, ["192.0.2.1"])]
        made = plan_zone(provider.fetch(name), wanted, "us")
        provider.apply(name, made.changes, made.etag)
        assert plan_zone(provider.fetch(name), wanted, "us").changes == ()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, names))
    assert cloudflare.calls["zones"] == 3
    assert cloudflare.calls["batch"] == 120


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
