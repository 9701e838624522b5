"""`mailwright dkim` on a real knot: a key's whole life, and the same with the process killed anywhere."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from maildns.asking.authority import Server
from maildns.planning.plan import plan_zone
from maildns.records import collect
from mailwright.model.keyring import Keyring, keyring_file, read_keyring
from mailwright.model.load import load_fleet
from mailwright.model.secrets import GivenSecrets
from mailwright.model.secrets_store import initialise, locate
from mailwright.zones.dkim import dkim_entries

ROOT = Path(__file__).parents[2]
DOMAIN = "brightpost.example"
NOW = 1_800_000_000
DAY = 86_400
KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "4"))
SEED = int(os.environ.get("MAILWRIGHT_SEED", random.SystemRandom().randrange(10**6)))
IDENTITY = ("MAILWRIGHT_IDENTITY", "MAILWRIGHT_IDENTITY_FILE")

FLEET = """
lab: {{ name: dkimtest, ipv4: 198.51.100.0/24, ipv6: "2001:db8:100::/64" }}  # asks nobody but its own server
owner: {{ name: Test, postmaster: postmaster@brightpost.example }}
secrets: {{ identity: identity }}
providers:
  knot: {{ type: rfc2136, server: 127.0.0.1, port: {port}, key_name: all., key: tsig/test }}
domains:
  - name: brightpost.example
    provider: knot
    dkim: [{{ selector: r1, algorithm: rsa }}, {{ selector: e1, algorithm: ed25519 }}]
machines:
  - {{ name: out1, fqdn: out1.{domain}, ipv4: 198.51.100.11, roles: {{ opendkim: {{}}, postfix: {{}} }} }}
  - {{ name: out2, fqdn: out2.{domain}, ipv4: 198.51.100.12, roles: {{ opendkim: {{}}, postfix: {queue} }} }}
"""


class Fleet:
    """A fleet in a folder of its own, and the command over it."""

    def __init__(self, folder, knot):
        self.folder, self.knot = folder, knot
        self.file = folder / "fleet.yaml"
        self.file.write_text(FLEET.format(port=knot.port, domain=DOMAIN, queue="{ queue_lifetime: 5d }"))
        self.file.with_suffix(".py").touch()
        self.later(0)
        fleet = load_fleet(self.file)
        self.vault = locate(fleet, self.file)
        initialise(fleet, self.vault.file, self.vault.identity, extra={"tsig/test": knot.key})
        self.publish_first_keys()

    def publish_first_keys(self):
        zone, provider = f"{DOMAIN}.", self.knot.provider()
        secrets = GivenSecrets(self.vault.read().secrets)
        wanted = collect(dkim_entries(load_fleet(self.file).domains[0], Keyring(), secrets), 3600)
        plan = plan_zone(provider.fetch(zone), wanted, "mailwright")
        provider.apply(zone, plan.changes, plan.etag)
        (self.folder / "hosts.json").write_text(
            json.dumps({h: [f"r1.{DOMAIN}", f"e1.{DOMAIN}"] for h in ("out1", "out2")})
        )

    def dkim(self, *arguments, kill_at=0):
        """Run the command; returns its exit status and all it said."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.dns.dkim_process", self.folder, str(kill_at), *arguments],
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if k not in IDENTITY}
            | {"PYTHONPATH": f"{ROOT}:{ROOT / 'dns'}", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def later(self, seconds):
        file = self.folder / "now"
        now = float(file.read_text()) if file.exists() else NOW
        file.write_text(str(now + seconds))

    def edit(self, old, new):
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def away(self, *hosts):
        (self.folder / "away").write_text(" ".join(hosts))

    @property
    def states(self):
        ring = read_keyring(keyring_file(self.file)).rings.get(DOMAIN)
        return {key.selector: str(key.state) for key in ring.keys} if ring else {}

    @property
    def shown(self):
        """Selector to whether a live key is shown; the server itself is asked."""
        found = {}
        for selector in {*self.states, "r1", "e1"}:
            for text in Server("knot", "127.0.0.1", self.knot.port).ask(
                f"{selector}._domainkey.{DOMAIN}.", "TXT"
            ):
                found[selector] = not text.endswith("p=")
        return found

    @property
    def kept(self):
        """Selectors whose private halves are among the secrets."""
        return {n.rpartition("/")[2] for n in self.vault.read().secrets if n.startswith("dkim/")}

    @property
    def signing(self):
        hosts = json.loads((self.folder / "hosts.json").read_text())
        return {h: {s.partition(".")[0] for s in selectors} for h, selectors in hosts.items()}


@pytest.fixture
def fleet(knot, tmp_path):
    yield Fleet(tmp_path, knot)
    knot.empty(f"{DOMAIN}.")


R2, E2 = "r20270115", "e20270115"


def both(*selectors):
    """Both hosts sign with these."""
    return {"out1": set(selectors), "out2": set(selectors)}


def test_a_key_s_whole_life_step_by_step(fleet):
    status, said = fleet.dkim("rotate", "--domain", DOMAIN)
    assert status == 0, said
    assert fleet.states == {"r1": "signing", "e1": "signing", R2: "published", E2: "published"}
    assert fleet.shown == {"r1": True, "e1": True, R2: True, E2: True}
    assert f"{R2}  hosts switch to it from 2027-01-15T09:00:01Z on" in said

    fleet.later(3600)
    status, said = fleet.dkim("rotate", "--due")
    assert (status, fleet.states[R2]) == (0, "published"), "a second too early"
    assert said.splitlines()[0] == "nothing to do before 2027-01-15T09:00:01Z", said
    assert said.count("\n") == 2, said  # the process itself counts its effects
    fleet.later(1)
    status, said = fleet.dkim("rotate", "--due")
    assert status == 0, said
    assert fleet.states == {"r1": "retiring", "e1": "retiring", R2: "signing", E2: "signing"}
    assert fleet.signing == both(R2, E2)
    assert fleet.shown == {"r1": True, "e1": True, R2: True, E2: True}
    assert "r1  is revoked from 2027-01-20T10:00:02Z on" in said  # the longest queue, 5d, and the TTL

    fleet.later(5 * DAY + 3600)
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.states["r1"] == "retiring"
    fleet.later(1)
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.states == {"r1": "revoked", "e1": "revoked", R2: "signing", E2: "signing"}
    assert fleet.shown == {"r1": False, "e1": False, R2: True, E2: True}
    assert fleet.kept == {R2, E2}

    fleet.later(31 * DAY)
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.states == {"r1": "deleted", "e1": "deleted", R2: "signing", E2: "signing"}
    assert fleet.shown == {R2: True, E2: True}
    assert fleet.dkim("status")[0] == 0

    before = keyring_file(fleet.file).read_text()
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert keyring_file(fleet.file).read_text() == before, "nothing was due"


def test_a_timer_exchanges_keys_by_their_age(fleet):
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.states == {"r1": "signing", "e1": "signing"}
    fleet.later(180 * DAY)
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert set(fleet.states.values()) == {"signing", "published"}


def test_a_host_that_is_away_holds_the_switch_and_both_keys_stay(fleet):
    fleet.dkim("rotate", "--all", "--algorithm", "rsa")
    fleet.later(3601)
    fleet.away("out2")
    status, said = fleet.dkim("rotate", "--due")
    assert (status, "out2 is not seen to sign as it should: away" in said) == (1, True), said
    assert fleet.states == {"r1": "signing", "e1": "signing", R2: "switching"}
    assert fleet.signing == {"out1": {R2, "e1"}, "out2": {"r1", "e1"}}
    fleet.later(90 * DAY)
    assert fleet.dkim("rotate", "--due")[0] == 1
    assert fleet.shown == {"r1": True, "e1": True, R2: True}
    status, said = fleet.dkim("status")
    assert (status, "out2: no answer: away" in said) == (3, True), said
    fleet.away()
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.states == {"r1": "retiring", "e1": "signing", R2: "signing"}


def test_a_host_that_is_lost_is_not_waited_for_if_it_is_named(fleet):
    fleet.dkim("rotate", "--all")
    fleet.later(3601)
    fleet.away("out2")
    status, said = fleet.dkim("rotate", "--due", "--without", "out2")
    assert status == 0, said
    assert fleet.states[R2] == "signing"


def test_in_an_emergency_a_new_key_takes_over_as_soon_as_nobody_remembers_that_it_was_not_there(fleet):
    status, said = fleet.dkim("retire", DOMAIN, "r1", "--now")
    assert status == 0, said
    assert fleet.shown == {"r1": True, "e1": True, R2: True}
    fleet.later(301)  # the SOA's minimum
    status, said = fleet.dkim("rotate", "--due")
    assert status == 0, said
    assert fleet.states == {"r1": "revoked", "e1": "signing", R2: "signing"}
    assert fleet.shown == {"r1": False, "e1": True, R2: True}
    assert fleet.kept == {"e1", R2}


def test_with_a_standby_key_an_emergency_is_over_at_once(fleet):
    fleet.edit("owner:", "dkim: { standby: true }\nowner:")
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.states[R2] == "published"
    fleet.later(30 * DAY)
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.signing == both("r1", "e1"), "it only stands by"
    status, said = fleet.dkim("retire", DOMAIN, "r1", "--now")
    assert status == 0, said
    assert (fleet.states["r1"], fleet.states[R2]) == ("revoked", "signing")
    assert fleet.signing == both(R2, "e1")
    assert fleet.shown["r1"] is False
    assert fleet.dkim("rotate", "--due")[0] == 0
    assert fleet.states["r20270214"] == "published", "the next one stands by"


def test_a_record_of_somebody_else_at_a_selector_is_not_overwritten(fleet):
    fleet.knot.target(f"{DOMAIN}.").foreign(f'{R2}._domainkey.{DOMAIN}. 300 TXT "v=DKIM1; p="')
    assert fleet.dkim("rotate", "--all", "--algorithm", "rsa")[0] == 0
    assert fleet.states == {"r1": "signing", "e1": "signing", f"{R2}b": "published"}


def test_a_wildcard_of_somebody_s_does_not_take_every_selector(fleet):
    fleet.knot.target(f"{DOMAIN}.").foreign(f'*.{DOMAIN}. 7200 TXT "v=spf1 -all"')
    fleet.knot.target(f"{DOMAIN}.").foreign(f'*._domainkey.{DOMAIN}. 7200 TXT "v=DKIM1; p="')
    status, said = fleet.dkim("rotate", "--all", "--algorithm", "rsa")
    assert (status, fleet.states) == (0, {"r1": "signing", "e1": "signing", R2: "published"}), said
    assert f"{R2}  hosts switch to it from 2027-01-15T10:00:01Z on" in said, "resolvers keep the wildcard's"
    for seconds in (7201, 6 * DAY, 31 * DAY):
        fleet.later(seconds)
        status, said = fleet.dkim("rotate", "--due")
        assert status == 0, said
    assert fleet.states == {"r1": "deleted", "e1": "signing", R2: "signing"}


def test_hosts_are_given_no_key_that_nobody_has_published(fleet):
    assert fleet.dkim("rotate", "--all", "--algorithm", "rsa")[0] == 0
    fleet.edit(
        "machines:",
        "  - {name: parcelnote.example, provider: knot, dkim: [{selector: p1, algorithm: rsa}]}\nmachines:",
    )
    initialise(load_fleet(fleet.file), fleet.vault.file, fleet.vault.identity)
    fleet.later(3601)
    status, said = fleet.dkim("rotate", "--due")
    assert (status, "world cannot see: p1 of parcelnote.example" in said) == (1, True), said
    assert fleet.signing == both("r1", "e1")
    assert fleet.states == {"r1": "signing", "e1": "signing", R2: "switching"}


def test_an_emergency_while_hosts_switch_to_the_very_key_goes_on_to_the_next(fleet):
    fleet.dkim("rotate", "--all", "--algorithm", "rsa")
    fleet.later(3601)
    fleet.away("out2")
    assert fleet.dkim("rotate", "--due")[0] == 1
    fleet.away()
    status, said = fleet.dkim("retire", DOMAIN, R2, "--now", "--wait")
    assert status == 0, said
    assert fleet.states == {"r1": "revoked", "e1": "signing", R2: "revoked", f"{R2}b": "signing"}


def test_one_domain_whose_server_is_silent_does_not_hold_the_others(fleet):
    fleet.edit(
        "machines:",
        "  - {name: away.example, dkim: [{selector: a1, algorithm: rsa}]}\nmachines:",
    )
    initialise(load_fleet(fleet.file), fleet.vault.file, fleet.vault.identity)
    status, said = fleet.dkim("rotate", "--all", "--algorithm", "rsa")
    assert (status, "away.example: " in said) == (1, True), said
    assert (fleet.states[R2], "Traceback" in said) == ("published", False), said


def test_what_is_revoked_is_not_published_again_by_whoever_has_an_old_keyring(fleet):
    old = keyring_file(fleet.file), fleet.vault.file
    fleet.dkim("rotate", "--due")
    kept = [file.read_bytes() for file in old]
    fleet.dkim("rotate", "--all", "--algorithm", "rsa")
    for seconds in (3601, 6 * DAY):
        fleet.later(seconds)
        fleet.dkim("rotate", "--due")
    assert fleet.states["r1"] == "revoked"
    for file, content in zip(old, kept, strict=True):
        file.write_bytes(content)
    zone = f"{DOMAIN}."
    secrets = GivenSecrets(fleet.vault.read().secrets)
    wanted = collect(dkim_entries(load_fleet(fleet.file).domains[0], Keyring(), secrets), 3600)
    plan = plan_zone(fleet.knot.provider().fetch(zone), wanted, "mailwright")
    assert f"revoked-key=r1._domainkey.{zone}" in {r.flag for r in plan.refusals}


def test_a_clock_that_is_behind_the_books_moves_no_key(fleet):
    assert fleet.dkim("rotate", "--all", "--algorithm", "rsa")[0] == 0
    before = keyring_file(fleet.file).read_bytes()
    fleet.later(-60)
    status, said = fleet.dkim("rotate", "--due")
    assert (status, "the clock says 2027-01-15T07:59:00Z, but" in said) == (1, True), said
    assert keyring_file(fleet.file).read_bytes() == before


def test_a_domain_without_a_provider_is_exchanged_by_hand(fleet):
    target = fleet.knot.target(f"{DOMAIN}.")
    fleet.edit("    provider: knot\n", "")

    def line(name, text):
        chunks = (f'"{text[i : i + 255]}"' for i in range(0, len(text), 255))
        return f"{name} 3600 TXT {' '.join(chunks)}"

    def obey(said):
        for what, name, text in re.findall(
            r"^(publish|delete) by hand: (\S+) TXT ?(.*)$", said, re.MULTILINE
        ):
            for old in Server("knot", "127.0.0.1", fleet.knot.port).ask(name, "TXT"):
                target.foreign_delete(line(name, old))
            if what == "publish":
                target.foreign(line(name, text))

    status, said = fleet.dkim("rotate", "--all", "--algorithm", "rsa")
    assert (status, said.count("publish by hand: ")) == (1, 1), said
    assert "has no key there" in said
    obey(said)
    assert fleet.dkim("rotate", "--due")[0] == 0
    for seconds, state in ((3601, "retiring"), (6 * DAY, "revoked"), (31 * DAY, "deleted")):
        fleet.later(seconds)
        obey(fleet.dkim("rotate", "--due")[1])
        assert fleet.dkim("rotate", "--due")[0] == 0
        assert fleet.states == {"r1": state, "e1": "signing", R2: "signing"}
    assert fleet.shown == {"e1": True, R2: True}


def test_status_sees_a_server_that_shows_another_key_and_a_host_that_signs_with_one(fleet):
    fleet.dkim("rotate", "--due")
    assert fleet.dkim("status")[0] == 0
    (fleet.folder / "hosts.json").write_text(json.dumps({"out1": [f"r0.{DOMAIN}"], "out2": []}))
    status, said = fleet.dkim("status")
    assert (status, "out1, out2: signs with other keys" in said) == (1, True), said
    status, said = fleet.dkim("status", "--no-hosts", "--json")
    first = json.loads(said[: said.rindex("]") + 1])[0]
    assert (status, first["selector"], first["verdict"], first["state"]) == (0, "r1", "ok", "signing")
    fleet.knot.empty(f"{DOMAIN}.")
    status, said = fleet.dkim("status", "--no-hosts")
    assert (status, "has no key there" in said) == (1, True), said


def test_a_key_whose_algorithm_is_given_up_retires_once_no_host_signs_with_it(fleet):
    fleet.dkim("rotate", "--due")
    fleet.edit(", { selector: e1, algorithm: ed25519 }", "")
    _, said = fleet.dkim("status")
    assert "not in the fleet file any more" in said, said
    assert fleet.dkim("retire", DOMAIN, "e1")[0] == 1
    assert fleet.states["e1"] == "signing"
    (fleet.folder / "hosts.json").write_text(json.dumps({h: [f"r1.{DOMAIN}"] for h in ("out1", "out2")}))
    assert fleet.dkim("retire", DOMAIN, "e1")[0] == 0
    assert fleet.states == {"r1": "signing", "e1": "retiring"}
    assert fleet.shown == {"r1": True, "e1": True}


def test_an_old_key_is_told_of(fleet):
    fleet.dkim("rotate", "--due")
    fleet.later(200 * DAY)
    status, said = fleet.dkim("status")
    assert (status, "warning: it has signed for 200 days" in said) == (0, True), said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rotate",), "say which keys"),
        (("rotate", "--all", "--due"), "say which keys"),
        (("rotate", "--domain", "nobody.example"), "the fleet has no domain nobody.example"),
        (("rotate", "--all", "--without", "out9"), "the fleet has no machine out9"),
        (("retire", DOMAIN, "r9"), "there is no key r9; there are r1, e1"),
    ],
)
def test_what_cannot_be_meant_is_one_line(fleet, arguments, said):
    status, out = fleet.dkim(*arguments)
    assert (status, said in out, "Traceback" in out) == (1, True, False), out
    assert fleet.states == {}


def test_killed_at_any_effect_it_goes_on_where_it_was(fleet, knot, tmp_path):
    whole = fleet.dkim("rotate", "--all", "--wait")
    assert whole[0] == 0, whole[1]
    count = int(re.search(r"effects: (\d+)", whole[1])[1])
    assert fleet.states == {"r1": "revoked", "e1": "revoked", R2: "signing", E2: "signing"}
    chosen = random.Random(SEED).sample(range(1, count + 1), min(KILLS, count))  # noqa: S311 - to be repeated
    for kill_at in chosen:
        knot.empty(f"{DOMAIN}.")
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        again = Fleet(folder, knot)
        assert again.dkim("rotate", "--all", "--wait", kill_at=kill_at)[0] == -9, (SEED, kill_at)
        begun = bool(again.states)
        assert again.dkim("rotate", "--due" if begun else "--all", "--wait")[0] == 0, (SEED, kill_at)
        if again.states == {"r1": "signing", "e1": "signing"}:  # killed before anything was asked for
            assert again.dkim("rotate", "--all", "--wait")[0] == 0
        ends = {s: state for s, state in again.states.items() if state != "deleted"}
        assert sorted(ends.values()) == ["revoked", "revoked", "signing", "signing"], (SEED, kill_at)
        alive = {s for s, state in ends.items() if state == "signing"}
        assert again.signing == both(*alive), (SEED, kill_at)
        assert {s for s, live in again.shown.items() if live} == alive, (SEED, kill_at)
        assert again.kept == alive, (SEED, kill_at)
