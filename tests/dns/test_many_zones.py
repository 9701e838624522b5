"""Planning and publishing over many zones: threads, order, failures in the middle, limits, selections."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest

from maildns.asking.authority import AskError
from maildns.planning.plan import applied, plan_zone
from maildns.provider import ProviderError, Snapshot
from maildns.records import rrset
from mailwright import providers, publish
from mailwright.command import dns as command
from mailwright.command.main import run
from mailwright.model.load import load_site
from mailwright.model.role import Role, Settings
from tests.dns.memory import Memory, MemoryServer

FLEET = """
owner: { name: Test, postmaster: postmaster@brightpost.example }
providers:
  one: { type: rfc2136, server: 127.0.0.1, key_name: k., key: tsig/one }
  two: { type: rfc2136, server: 127.0.0.2, key_name: k., key: tsig/two }
domains:
  - { name: brightpost.example, provider: one, mx: [mx1] }
  - { name: news.brightpost.example, zone: brightpost.example, provider: one, mx: [mx1] }
  - { name: de.news.brightpost.example, zone: brightpost.example, provider: one, mx: [mx1] }
  - { name: parcelnote.example, provider: two, mx: [mx1] }
  - { name: inkwell.example, provider: two, mx: [mx1] }
reverse_zones:
  - { name: 100.51.198.in-addr.arpa, provider: two }
machines:
  - { name: mx1, fqdn: mx1.brightpost.example, ipv4: 198.51.100.21, roles: { postfix: {} } }
"""
HOME, NEWS, PARCEL, INK = (
    "brightpost.example.",
    "news.brightpost.example.",
    "parcelnote.example.",
    "inkwell.example.",
)
BACK = "100.51.198.in-addr.arpa."
ZONES = (HOME, PARCEL, INK, BACK)
ROLES = (Role("postfix", Settings, apply=lambda _: None),)
THEIRS = {zone: rrset(f"www.{zone}", "A", 300, ["192.0.2.80"]) for zone in ZONES}


class World:
    """A fleet, its zones in memory, and the command line."""

    def __init__(self, file, capsys) -> None:
        self.file, self.capsys = file, capsys
        self.memory = Memory({zone: (THEIRS[zone],) for zone in ZONES})
        self.opened = []
        self.behind = False

    def open(self, where, _):
        self.opened.append(str(where.server))
        return self.memory

    def servers(self, _):
        return (MemoryServer("ns.example.net.", "192.0.2.53", memory=self.memory, behind=self.behind),)

    def anchored(self, _):
        return False

    def dns(self, what, *arguments):
        consent = ["--yes"] if what == "apply" and "--plan" not in arguments else []
        status = run(["dns", what, str(self.file), *consent, *arguments])
        out, err = self.capsys.readouterr()
        return status, out + err

    def dns_json(self, what, *arguments):
        consent = ["--yes"] if what == "apply" else []
        status = run(["dns", what, str(self.file), *consent, "--json", *arguments])
        return status, json.loads(self.capsys.readouterr().out)

    def change(self, *pairs):
        text = self.file.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        self.file.write_text(text)

    def names(self, zone):
        return {r.name for r in self.memory.zones[zone] if "_maildns" not in r.name} - {THEIRS[zone].name}


class Log(list):
    """Of what is written; each line is followed by something."""

    def __init__(self, then) -> None:
        super().__init__()
        self.then = then

    def append(self, each) -> None:
        super().append(each)
        self.then()


@pytest.fixture
def world(tmp_path, monkeypatch, capsys):
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    made = World(file, capsys)
    monkeypatch.setattr(providers, "_open", made.open)
    monkeypatch.setattr(publish, "World", lambda _: made)
    environ = {f"MAILWRIGHT_SECRET_TSIG_{name}": "eA==" for name in ("ONE", "TWO")}
    monkeypatch.setattr(command, "open_site", lambda path: load_site(path, ROLES, environ))
    return made


def test_zones_are_read_side_by_side_and_each_provider_is_opened_once(world):
    world.memory.meet = threading.Barrier(len(ZONES))  # nobody is done before all have begun
    status, out = world.dns("apply")
    assert status == 0, out
    assert sorted(world.opened) == ["127.0.0.1", "127.0.0.2"]
    assert "done: 4 zones are published and served by all servers (1)" in out.splitlines()
    status, out = world.dns("plan")
    assert status == 0
    assert "4 zones: nothing to do" in out.splitlines()


def test_what_other_zones_point_at_is_published_before_them(world):
    world.dns("apply")
    log = world.memory.log
    host = log.index((HOME, f"mx1.{HOME}"))
    pointers = [(PARCEL, PARCEL), (INK, INK), (BACK, f"21.{BACK}")]
    assert host < min(log.index(pointer) for pointer in pointers)


def test_nothing_is_removed_before_every_server_serves_what_was_added(world):
    world.dns("apply")
    world.change(("mx1.brightpost.example, ipv4", "mx9.brightpost.example, ipv4"))
    world.behind = True
    status, out = world.dns("apply", "--deadline", "0")
    assert status == 1
    assert "nothing removed: it is not served everywhere within 0 s" in out
    assert {f"mx1.{HOME}", f"mx9.{HOME}"} <= world.names(HOME)
    world.behind = False
    world.memory.log.clear()
    status, out = world.dns("apply")
    assert status == 0, out
    assert f"mx1.{HOME}" not in world.names(HOME)
    assert world.memory.log == [(HOME, f"mx1.{HOME}")]  # what was left, and no more


@pytest.fixture
def whole(world):
    """How many batches of one unit a first apply takes, and what the zones then hold."""
    world.memory.limit = 1
    before = dict(world.memory.zones)
    assert world.dns("apply")[0] == 0
    done = SimpleNamespace(batches=world.memory.batches, zones=world.memory.flat())
    world.memory.zones, world.memory.batches = before, 0
    return done


def test_after_a_failure_at_any_batch_the_next_plan_is_what_is_left(world, whole):
    before = dict(world.memory.zones)
    assert whole.batches > 10
    for n in range(1, whole.batches + 1):
        world.memory.zones, world.memory.batches = dict(before), 0
        world.memory.log.clear()
        world.memory.fail_at = n
        status, out = world.dns("apply")
        assert (status, f"batch {n} fails" in out) == (1, True)
        done = set(world.memory.log)
        assert all(THEIRS[zone] in held for zone, held in world.memory.zones.items())
        world.memory.fail_at = None
        status, plan = world.dns_json("plan")
        left = {(zone["zone"], change["unit"]) for zone in plan["zones"] for change in zone["changes"]}
        assert status == 2
        assert not done & left
        assert world.dns("apply")[0] == 0
        assert set(world.memory.log) == done | left
        assert world.memory.flat() == whole.zones
        assert world.dns("plan")[0] == 0


def test_no_other_zone_is_begun_after_a_failure(world, monkeypatch):
    monkeypatch.setattr(publish, "AT_ONCE", 1)
    world.memory.fail_at = 1
    assert world.dns("apply")[0] == 1
    assert world.memory.batches == 1
    assert world.memory.flat() == {zone: frozenset({r}) for zone, r in THEIRS.items()}
    world.memory.fail_at = 3
    assert "1 zone was changed, the next plan is what is left" in world.dns("apply")[1]


def test_a_zone_that_cannot_be_read_is_told_beside_the_others_and_stops_the_apply(world, tmp_path):
    world.memory.unreadable = {PARCEL}
    status, out = world.dns("plan", "--out", str(tmp_path / "plan"))
    assert status == 1
    assert f"+ mx1.{HOME}" in out
    assert f"cannot be read: reading {PARCEL}: nobody answers" in out
    assert "nothing will be done: 1 unread" in out
    assert not (tmp_path / "plan").exists()
    status, said = world.dns_json("plan")
    assert (status, said["blocked"]) == (1, True)
    assert said["unread"] == [{"zone": PARCEL, "what": f"reading {PARCEL}: nobody answers"}]
    assert world.dns("apply")[0] == 1
    assert world.memory.log == []
    assert world.dns("apply", "--only", HOME)[0] == 0  # the others can be done by name
    world.memory.unreadable = set(ZONES)
    status, out = world.dns("plan")
    assert (status, out.count("\n"), "and 3 more zones" in out) == (1, 1, True)


def test_a_domain_in_its_parents_zone_is_planned_alone(world, tmp_path):
    saved = tmp_path / "plan.json"
    assert world.dns("plan", "--only", "news.brightpost.example", "--out", str(saved))[0] == 2
    assert world.dns("apply", "--plan", str(saved))[0] == 0
    assert world.names(HOME) == {NEWS, f"_dmarc.{NEWS}"}  # not de.news, a domain of its own
    assert world.names(PARCEL) == set()
    assert world.dns("plan", "--only", NEWS)[0] == 0
    assert world.dns("apply", "--only", HOME, "--only", "inkwell.example")[0] == 0
    assert {HOME, f"de.{NEWS}", f"mx1.{HOME}"} <= world.names(HOME)
    assert world.names(PARCEL) == set()
    status, out = world.dns("plan", "--only", "nosuch.example")
    assert status == 1
    assert "nosuch.example. is no zone or domain" in out
    assert NEWS in out


def test_only_what_a_selected_domain_lost_is_removed(world):
    world.dns("apply")
    for domain in ("news", "de.news"):
        line = f"name: {domain}.brightpost.example, zone: brightpost.example, provider: one"
        world.change((f"{line}, mx: [mx1]", line))
    status, said = world.dns_json("plan", "--only", NEWS)
    assert status == 1
    (zone,) = said["zones"]
    assert {c["unit"] for c in zone["changes"]} == {NEWS}
    assert [r["flag"] for r in zone["refusals"]] == [f"last-mx={NEWS}"]


def test_few_deletions_in_each_of_many_zones_are_many(world):
    """Three sets may go from any zone, but not from all of them."""
    world.dns("apply")
    for zone in ZONES:
        gone = [rrset(f"gone{n}.{zone}", "A", 300, ["192.0.2.1"]) for n in range(3)]
        extra = plan_zone(Snapshot(zone, (), ""), gone, "mailwright").changes
        world.memory.zones[zone] = applied(world.memory.zones[zone], extra)
    before = world.memory.flat()
    status, said = world.dns_json("plan")
    assert status == 1
    assert [r["flag"] for r in said["refusals"]] == ["delete-many=all"]
    assert world.dns("apply")[0] == 1
    assert world.memory.flat() == before
    assert world.dns("plan", "--only", HOME)[0] == 2
    assert world.dns("apply", "--allow", "delete-many=all")[0] == 0


def test_the_json_of_plan_and_apply_keeps_its_shape(world):
    status, said = world.dns_json("plan", "--only", PARCEL)
    assert status == 2
    assert list(said) == ["digest", "only", "blocked", "summary", "zones", "unread", "refusals", "by_hand"]
    nothing = dict.fromkeys(("change", "delete", "take_over", "conflicts", "refusals", "unread"), 0)
    assert said["summary"] == {"zones": 1, "add": 3, **nothing}
    (zone,) = said["zones"]
    assert list(zone) == ["zone", "changes", "conflicts", "refusals", "provider"]
    mx = next(c for c in zone["changes"] if c["type"] == "MX")
    assert list(mx) == ["name", "type", "old", "new", "reason", "unit"]
    assert list(mx["new"]) == ["name", "type", "ttl", "values", "reasons"]
    assert mx["old"] is None
    status, said = world.dns_json("apply", "--only", PARCEL)
    assert status == 0
    assert list(said) == ["ok", "error", "plan", "published", "failed", "servers"]
    assert (said["ok"], said["published"]) == (True, [PARCEL])
    status, said = world.dns_json("apply", "--only", PARCEL)
    assert (status, said["ok"], said["published"]) == (0, True, [])
    world.memory.fail_at = world.memory.batches + 1
    status, said = world.dns_json("apply", "--only", INK)
    assert (status, said["ok"], said["published"]) == (1, False, [])
    assert "fails" in said["error"]


def test_the_json_of_an_apply_that_failed_says_what_was_done(world, monkeypatch):
    monkeypatch.setattr(publish, "AT_ONCE", 1)
    world.memory.fail_at = 2
    status, said = world.dns_json("apply")
    failed = f"{PARCEL}: batch 2 fails"
    assert (status, said["published"], said["failed"]) == (1, [HOME], [{"zone": PARCEL, "what": failed}])
    assert said["servers"] == []
    assert "1 zone was changed" in said["error"]
    world.memory.fail_at = None
    world.behind = True
    status, said = world.dns_json("apply", "--deadline", "0")
    assert (status, said["published"], said["failed"]) == (1, sorted(set(ZONES) - {HOME}), [])
    assert "not served everywhere" in said["error"]


def test_every_zone_that_failed_is_told(world, monkeypatch):
    assert world.dns("apply", "--only", HOME)[0] == 0
    meet = threading.Barrier(3)

    def fail(zone, *_):
        meet.wait(timeout=20)
        raise ProviderError(f"{zone} is refused")

    monkeypatch.setattr(world.memory, "apply", fail)
    status, out = world.dns("apply")
    assert (status, all(f"{zone} is refused" in out for zone in (PARCEL, INK, BACK))) == (1, True)
    assert "and 2 more zones failed" in out


def test_an_apply_whose_servers_cannot_be_found_says_that_it_published(world, monkeypatch):
    def nobody(_):
        raise AskError("no name server can be found")

    monkeypatch.setattr(world, "servers", nobody)
    status, out = world.dns("apply", "--only", HOME)
    assert status == 1
    assert out.splitlines()[-1].endswith("published, but not seen everywhere: no name server can be found")


def test_an_apply_that_cannot_read_again_says_that_it_published(world, monkeypatch):
    monkeypatch.setattr(world.memory, "log", Log(lambda: world.memory.unreadable.update(ZONES)))
    status, out = world.dns("apply", "--only", INK)
    assert status == 1
    assert "published, but there is no second plan: reading inkwell.example.: nobody answers" in out


def test_an_edit_between_two_stages_of_one_zone_is_a_conflict(world, monkeypatch):
    """What is to go is what it was when it was planned, or it stays."""
    world.dns("apply")
    world.change(("mx1.brightpost.example, ipv4", "mx9.brightpost.example, ipv4"))
    fetch = world.memory.fetch

    def edited(zone):
        if world.memory.log:  # a part is published
            held = world.memory.zones[zone]
            edit = rrset(f"mx1.{HOME}", "A", 300, ["192.0.2.66"])
            world.memory.zones[zone] = tuple(edit if r.key == edit.key else r for r in held)
        return fetch(zone)

    world.memory.log.clear()
    monkeypatch.setattr(world.memory, "fetch", edited)
    status, out = world.dns("apply")
    assert status == 1
    assert f"mx1.{HOME} A was changed by somebody else meanwhile" in out
    assert any(r.rdata == {"192.0.2.66"} for r in world.memory.zones[HOME])
