"""The fake is as strict as the original: each refusal, each page, each undone batch."""

from __future__ import annotations

import httpx
import pytest

from tests.dns.cloudflare import add

ZONE = "strict.example"


@pytest.fixture
def zone(cloudflare):
    return cloudflare.account.add(ZONE)


@pytest.fixture
def api(cloudflare, zone):
    """A client that is not ours."""
    headers = {"Authorization": f"Bearer {cloudflare.token(zone.name)}"}
    with httpx.Client(base_url=cloudflare.endpoint, headers=headers) as client:
        yield client


def errors(answer) -> list[int]:
    """The codes of a refusal, outermost first."""
    body = answer.json()
    assert (body["success"], body["result"]) == (False, None)
    (first,) = body["errors"]
    return [first["code"], *(link["code"] for link in first.get("error_chain", []))]


def record(**fields: object) -> dict[str, object]:
    return {"name": f"a.{ZONE}", "type": "A", "content": "192.0.2.1", "ttl": 300} | fields


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({"content": "192.0.2.256"}, [1004, 9005]),
        ({"content": "mail.example.net"}, [1004, 9005]),
        ({"type": "AAAA"}, [1004, 9006]),
        ({"type": "CNAME", "content": "two words"}, [1004, 9009]),
        ({"type": "MX", "content": "mail.example.net"}, [1004, 9101]),
        ({"type": "SRV", "content": "0 1 465 mail.example.net"}, [1004, 9101]),
        ({"type": "TLSA", "content": "3 1 1 00"}, [1004, 9101]),
        ({"ttl": 59}, [1004, 9021]),
        ({"ttl": 0}, [1004, 9021]),
        ({"ttl": 86401}, [1004, 9021]),
        ({"type": "TXT", "content": '"x"', "proxied": True}, [1004, 9041]),
        ({"type": "TXT", "content": "ü"}, [1004, 9051]),
        ({"type": "TXT", "content": '"two" words'}, [1004, 1004]),
        ({"type": "TXT", "content": '""'}, [1004, 1004]),
        ({"type": "TXT", "content": '"' + "x" * 4081 + '"'}, [1004, 1004]),
        ({"comment": "x" * 101}, [1004, 9313]),
        ({"comment": "two\nlines"}, [1004, 1004]),
        ({"tags": ["a:b"]}, [1004, 9301]),
        ({"type": "SPF"}, [1004, 1004]),
        ({"content": "192.0.2.99"}, [81058]),
        ({"type": "CNAME", "content": "b.example.net", "name": "held"}, [81053]),
        ({"name": "alias"}, [81054]),
        ({"name": "cut"}, [81056]),
    ],
)
def test_a_record_is_refused_with_the_originals_number(zone, api, fields, codes):
    add(zone, (f"a.{ZONE} 300 A 192.0.2.99", f"held.{ZONE} 300 AAAA 2001:db8::1"))
    add(zone, (f"alias.{ZONE} 300 CNAME b.example.net", f"cut.{ZONE} 300 NS b.example.net"))
    before = dict(zone.records)
    answer = api.post(f"/zones/{zone.id}/dns_records", json=record(**fields))
    assert (answer.status_code, errors(answer)) == (400, codes)
    assert zone.records == before


def test_records_come_back_as_the_original_spells_them(zone, api):
    for fields, content in (
        ({"type": "AAAA", "content": "2001:DB8:0::1"}, "2001:db8::1"),
        ({"type": "CNAME", "content": "Mail.example.net.", "name": "c"}, "Mail.example.net"),
        ({"type": "MX", "content": ".", "priority": 0}, "."),
        ({"type": "TXT", "content": "plain; text"}, "plain; text"),
        ({"type": "TXT", "content": '"' + "x" * 256 + '"'}, '"' + "x" * 255 + '" "x"'),
        (
            {"type": "TLSA", "data": {"usage": 3, "selector": 1, "matching_type": 1, "certificate": "ab"}},
            "3 1 1 AB",
        ),
        (
            {"type": "SRV", "data": {"priority": 1, "weight": 2, "port": 3, "target": "h.example."}},
            "2 3 h.example",
        ),
    ):
        answer = api.post(f"/zones/{zone.id}/dns_records", json=record(**fields)).json()["result"]
        assert answer["content"] == content
    assert (
        api.post(f"/zones/{zone.id}/dns_records", json=record(name="x", proxied=True)).json()["result"]["ttl"]
        == 1
    )
    outside = api.post(f"/zones/{zone.id}/dns_records", json=record(name="mail.example.net")).json()["result"]
    assert outside["name"] == f"mail.example.net.{ZONE}"


def test_a_batch_is_carried_out_in_its_order(zone, api):
    """A CNAME can take an address's place, although it is refused beside it."""
    add(zone, (f"a.{ZONE} 300 A 192.0.2.1", f"b.{ZONE} 300 A 192.0.2.2", f"c.{ZONE} 300 A 192.0.2.3"))
    a, b, c = zone.records
    body = {
        "posts": [record(type="CNAME", content="b.example.net")],
        "puts": [record(id=c, name=f"c.{ZONE}", content="192.0.2.2")],
        "patches": [{"id": b, "comment": "kept"}],
        "deletes": [{"id": a}],
    }
    result = api.post(f"/zones/{zone.id}/dns_records/batch", json=body).json()["result"]
    assert list(result) == ["deletes", "patches", "puts", "posts"]
    assert {(r["type"], r["content"], r["comment"]) for r in zone.records.values()} == {
        ("CNAME", "b.example.net", None),
        ("A", "192.0.2.2", "kept"),
        ("A", "192.0.2.2", None),
    }


@pytest.mark.parametrize(
    ("last", "status", "codes"),
    [
        ({"deletes": [{"id": "0" * 32}]}, 404, [81044]),
        ({"patches": [{"id": "0" * 32}]}, 404, [81044]),
        ({"posts": [record(content="192.0.2.7"), record(content="192.0.2.7")]}, 400, [81058]),
    ],
)
def test_one_error_undoes_the_whole_batch(zone, api, last, status, codes):
    add(zone, (f"a.{ZONE} 300 A 192.0.2.1", f"b.{ZONE} 300 A 192.0.2.2"))
    before = {id_: dict(each) for id_, each in zone.records.items()}
    first, second = before
    body = {"deletes": [{"id": first}], "patches": [{"id": second, "ttl": 600}], "posts": [record(name="c")]}
    for name, operations in last.items():
        body[name] = [*body[name], *operations]
    answer = api.post(f"/zones/{zone.id}/dns_records/batch", json=body)
    assert (answer.status_code, errors(answer)) == (status, codes)
    assert zone.records == before


def test_a_free_zone_has_room_for_200_records_and_a_batch_for_200_operations(cloudflare, zone, api):
    posts = [record(name=f"n{n}") for n in range(201)]
    for zone_id, plan in ((zone.id, "free"), (cloudflare.account.add("p.example", "pro").id, "pro")):
        cloudflare.account.tokens = dict.fromkeys(cloudflare.account.tokens)
        answer = api.post(f"/zones/{zone_id}/dns_records/batch", json={"posts": posts})
        assert answer.status_code == (400 if plan == "free" else 200)
    assert api.post(f"/zones/{zone.id}/dns_records/batch", json={"posts": posts[:200]}).status_code == 200
    assert errors(api.post(f"/zones/{zone.id}/dns_records", json=posts[200])) == [81045]


@pytest.mark.parametrize("count", [0, 99, 100, 101, 250])
def test_pages_end_with_an_empty_one_and_count_what_there_is(zone, api, count):
    zone.most_records = 1000
    add(zone, tuple(f"n{n}.{ZONE} 300 A 192.0.2.1" for n in range(count)))
    found, page = [], 0
    while True:
        page += 1
        answer = api.get(f"/zones/{zone.id}/dns_records", params={"page": page}).json()
        info = answer["result_info"]
        assert (info["page"], info["per_page"], info["total_count"]) == (page, 100, count)
        assert info["total_pages"] == max(1, (count + 99) // 100)
        if not answer["result"]:
            break
        found += answer["result"]
    assert len({r["id"] for r in found}) == count


def test_a_token_sees_its_zones_and_no_others(cloudflare, api):
    other = cloudflare.account.add("other.example")
    assert [z["name"] for z in api.get("/zones").json()["result"]] == [ZONE]
    assert errors(api.get(f"/zones/{other.id}/dns_records")) == [10000]
    assert errors(api.get(f"/zones/{'f' * 32}/dns_records")) == [7003]
    assert errors(api.get("/zones", params={"per_page": 51})) == [1004]


@pytest.mark.parametrize(
    ("headers", "status", "codes"),
    [
        ({"Authorization": "Bearer " + "n" * 40}, 403, [9109]),
        ({"Authorization": "Bearer short"}, 400, [6003, 6111]),
        ({"Authorization": "Basic " + "n" * 40}, 400, [6003, 6111]),
        ({"X-Auth-Email": "somebody@example.org"}, 400, [6003, 6103]),
    ],
)
def test_who_comes_with_wrong_papers_is_told_what_is_wrong(api, headers, status, codes):
    answer = api.get("/zones", headers=headers)
    assert (answer.status_code, errors(answer)) == (status, codes)


@pytest.mark.parametrize("tells", [True, False])
def test_who_asks_too_often_is_shut_out_for_five_minutes(cloudflare, api, tells):
    now = [0.0]
    cloudflare.clock, cloudflare.tells_retry_after = lambda: now[0], tells
    (token,) = cloudflare.account.tokens
    cloudflare.used[token] = (0.0, 1198)
    assert api.get("/zones").headers["ratelimit"] == '"default";r=1;t=301'
    assert api.get("/zones").status_code == 200
    now[0] = 290.0
    answer = api.get("/zones")
    assert (answer.status_code, errors(answer), "retry-after" in answer.headers) == (429, [971], tells)
    now[0] = 589.0
    assert api.get("/zones").status_code == 429
    now[0] = 591.0
    assert api.get("/zones").status_code == 200
