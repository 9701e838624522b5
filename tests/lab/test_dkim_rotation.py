"""Keys are exchanged under way: mail flows from both sending hosts, and some of it waits over the switch.

Two domains go through a whole rotation side by side, from new keys to old ones that are gone. One of them
with a command that is killed in state after state and run again.
"""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
import uuid
from datetime import UTC, datetime

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from mailwright.command.inventory import open_site
from mailwright.lab.shell import wait_until
from mailwright.model.keyring import keyring_file, read_keyring
from tests.lab.deploying import ROOT, command, mailwright
from tests.lab.mailing import auth_plain, refusal, talk, transaction
from tests.lab.variants import variant

MINUTES = 5

pytestmark = [pytest.mark.slow, pytest.mark.rounds]

CALM, KILLED = "brightpost.example", "parcelnote.example"
SENDERS = {
    CALM: ("newsletter", "bounces+42@brightpost.example"),
    KILLED: ("shop", "orders@parcelnote.example"),
}
HOSTS = ("out1", "out2")
ALGORITHMS = ("rsa", "ed25519")
STATES = ("made", "published", "switching", "signing", "revoked", "deleted")
FIRST = ("signing", True)
"""The state of a key that was there before, as it is taken into the books."""
KEY = re.compile(r'selector: "([^"]+)".*? state: (\w+)')
MOMENTS = (0, 0.1, 0.3)
"""Seconds from what is written down to the kill."""
KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "2"))
SEED = int(os.environ.get("MAILWRIGHT_SEED", random.SystemRandom().randrange(10**6)))
READER = "anna"
PATIENCE = 600
"""Seconds for a rotation whose own times add up to about 100."""


def quickly(fleet):
    """What takes days takes seconds."""
    fleet["dns"] = {"ttl": 30}
    fleet["dkim"] = {"revoked_for": "5s"}
    lifetimes = {"queue_lifetime": "20s", "bounce_lifetime": "20s"}
    fleet["defaults"]["roles"]["postfix"] = lifetimes


def remember_absence_for(site, seconds):
    """Say in the SOA of the domains' zones how long resolvers may remember that there is no record."""
    provider = site.fleet.providers["knot"]
    keys = dns.tsigkeyring.from_text({str(provider.key_name): site.secrets.get(provider.key)})
    for domain in SENDERS:
        update = dns.update.UpdateMessage(f"{domain}.", keyring=keys)
        now = int(time.time())
        update.add("@", 300, "SOA", f"ns.example. hostmaster.example. {now} 3600 900 604800 {seconds}")
        answer = dns.query.tcp(update, str(provider.server), timeout=5)
        assert answer.rcode() == dns.rcode.NOERROR


class Flow:
    """Mail from every login through every sending host, all the time. Clients try again when told to."""

    def __init__(self, lab, site):
        self.lab, self.site = lab, site
        self.sent, self.wrong = [], []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def send(self, host, domain):
        """Submit one message; returns its subject."""
        login, sender = SENDERS[domain]
        machine, subject = self.site.fleet.machine(host), uuid.uuid4().hex
        to = f"{READER}@mailbox.example"
        body = f"From: Somebody <{sender}>\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nhello"
        words = transaction(sender, to, body=body)
        password = self.site.secrets.get(f"submission/{login}")
        for _ in range(60):
            replies = talk(
                self.lab.host("outside"),
                machine.ipv4,
                587,
                "EHLO laptop.internal\r\n",
                auth_plain(login, password),
                *words,
                tls="starttls",
            )
            reply = refusal(replies)
            if reply.code == 250:
                self.sent.append((domain, subject))
                return subject
            if reply.code >= 500:
                break
            time.sleep(0.2)  # a client's own patience: the signer of its session was being replaced
        self.wrong.append(f"{host} {domain}: {reply}")
        return subject

    def _run(self):
        while not self._done.is_set():
            for host in HOSTS:
                for domain in SENDERS:
                    self.send(host, domain)
                    self._done.wait(0.2)  # the processors are for the rotation, too


def queue(lab, host, name):
    found = lab.host(host).run("postqueue -j").require().stdout
    return [message for message in map(json.loads, found.splitlines()) if message["queue_name"] == name]


def hold_some(lab, flow):
    """The provider is away for a moment; what could not be delivered in it is put on hold, on each host."""
    mailbox = lab.host("mailbox")
    rules = (
        "add table inet away; add chain inet away input { type filter hook input priority 0; };"
        " add rule inet away input tcp dport 25 reject with tcp reset"
    )
    mailbox.in_network(["nft", rules]).require()
    for host in HOSTS:
        for domain in SENDERS:
            flow.send(host, domain)
        wait_until(lambda host=host: len(queue(lab, host, "deferred")) >= len(SENDERS), "mail is deferred")
        lab.host(host).run("postsuper -h ALL deferred").require()
    mailbox.in_network(["nft", "delete table inet away"]).require()
    held = {host: len(queue(lab, host, "hold")) for host in HOSTS}
    assert all(n >= len(SENDERS) for n in held.values()), held
    return held


def release(lab, how_many=None):
    """Let held mail go: on each host some messages, or all."""
    for host in HOSTS:
        chosen = [message["queue_id"] for message in queue(lab, host, "hold")][:how_many]
        if chosen:
            lab.host(host).run(["postsuper", *(word for each in chosen for word in ("-H", each))]).require()
        lab.host(host).run("postqueue -f").require()


class Story:
    """Two rotations, step by step."""

    def __init__(self, inventory, old):
        self.inventory, self.old = inventory, old
        self.kills, self.output = [], []
        choose = random.Random(SEED)  # noqa: S311 - to be repeated, not to be secret
        self.doomed = set(choose.sample(STATES, min(KILLS, len(STATES))))
        self.choose = choose

    def states(self, domain):
        """Selector to state."""
        ring = read_keyring(keyring_file(self.inventory)).rings.get(domain)
        return {key.selector: str(key.state) for key in ring.keys} if ring else {}

    def run(self, domain, *how):
        """One run of the command for a domain, to its end; exit status 0."""
        done = mailwright("dkim", "rotate", self.inventory, "--domain", domain, *how)
        self.output.append(done.stdout + done.stderr)
        assert done.returncode == 0, self.output[-1]

    def run_and_kill(self, domain, *how):
        """As `run`, except that it is killed whenever it has just come into a doomed state, and run again."""
        while self._killed(domain, *how):
            pass

    def _killed(self, domain, *how):
        """Run the command once; whether it was killed. Else it ended well."""
        before = self._moves(domain)
        process = subprocess.Popen(
            command("mailwright", "dkim", "rotate", self.inventory, "--domain", domain, *how),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        while process.poll() is None:
            if new := {state for _, state in self._moves(domain) - before} & self.doomed:
                moment = self.choose.choice(MOMENTS)
                time.sleep(moment)  # how far it comes with what it has just written down
                os.killpg(process.pid, signal.SIGKILL)
                if process.wait() == -signal.SIGKILL:
                    process.stdout.close()
                    # Where it was by then: it is not new to the next run.
                    new |= {state for _, state in self._moves(domain) - before} & self.doomed
                    self.doomed -= new
                    self.kills.append(f"{', '.join(sorted(new))} + {moment} s")
                    return True
            time.sleep(0.001)
        self.output.append(process.communicate()[0])
        assert process.returncode == 0, self.output[-1]
        return False

    def _moves(self, domain):
        """(selector, state) of all keys that have moved: not of the first ones, which sign from the start.

        Read without a parser of YAML: a state that lasts for some milliseconds must not be missed.
        """
        file = keyring_file(self.inventory)
        text = file.read_text() if file.exists() else ""
        ring = text.partition(f"\n  {domain}:\n")[2]
        lines = itertools.takewhile(lambda line: line.startswith("    - "), ring.splitlines())
        keys = (KEY.search(line).groups() for line in lines)
        return {(s, state) for s, state in keys if (state, s in self.old[domain]) != FIRST}

    def until(self, state, *, least=1):
        """Go on with both domains until that many keys of each are in a state."""
        end = time.monotonic() + PATIENCE
        while any(list(self.states(d).values()).count(state) < least for d in SENDERS):
            assert time.monotonic() < end, self.output[-1]
            self.sleep()
            self.run_and_kill(KILLED, "--due")
            self.run(CALM, "--due")

    def sleep(self):
        """Wait for the earliest time that the last two runs named."""
        coming = r"(?:(?:switch to it|revoked|deleted) from|nothing to do before) (\S+Z)"
        named = re.findall(coming, "".join(self.output[-2:]))
        times = [datetime.strptime(t, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() for t in named]
        time.sleep(max(0.0, min(times, default=0) - time.time()))


@pytest.fixture(scope="module")
def fleet_file(deployed, tmp_path_factory):
    """The deployed fleet with short times; afterwards everything is as it was."""
    inventory = variant(deployed, tmp_path_factory.mktemp("rotation"), quickly)
    site = open_site(inventory)
    secrets = site.secrets.vault.file
    before = secrets.read_bytes()
    remember_absence_for(site, 10)
    done = mailwright("apply", "--yes", inventory)
    assert done.returncode == 0, done.stderr
    yield inventory
    secrets.write_bytes(before)
    new = [
        (d, k.selector) for d, ring in read_keyring(keyring_file(inventory)).rings.items() for k in ring.keys
    ]
    flags = [
        word
        for domain, selector in new
        for what in ("signing-key", "revoked-key")
        for word in ("--allow", f"{what}={selector}._domainkey.{domain}.")
    ]
    for words in (["dns", "apply", "--yes", *flags], ["apply", "--yes"]):
        done = mailwright(*words, deployed.plan.file)
        assert done.returncode == 0, done.stderr
    remember_absence_for(site, 60)
    for machine in site.fleet.with_role("unbound"):
        # The old selectors are in use again, which they never are elsewhere: resolvers remember them revoked.
        deployed.host(machine.name).run("systemctl restart unbound").require()


@pytest.fixture(scope="module")
def story(deployed, fleet_file):
    """A whole rotation of both domains under mail; the story and what was sent."""
    domains = open_site(fleet_file).fleet.domains
    old = {domain.name.bare: {key.selector for key in domain.dkim} for domain in domains}
    lab, told = deployed, Story(fleet_file, old)
    with Flow(lab, open_site(fleet_file)) as flow:
        told.run_and_kill(KILLED)
        told.run(CALM)
        told.held = hold_some(lab, flow)
        told.until("retiring", least=len(ALGORITHMS))
        release(lab, 1)
        told.sleep()  # until the old keys may be revoked: now the last mail arrives that they are held for
        release(lab)
        wait_until(
            lambda: not any(queue(lab, h, q) for h in HOSTS for q in ("hold", "deferred")), "mail is gone"
        )
        told.until("deleted", least=len(ALGORITHMS))
    told.flow = flow
    subjects = {subject for _, subject in flow.sent}
    wait_until(
        lambda: subjects <= {m.subject for m in lab.mailbox.messages(READER)},
        "all mail has arrived",
        timeout=60,
    )
    told.arrived = {m.subject: m for m in lab.mailbox.messages(READER) if m.subject in subjects}
    return told


def selectors(message):
    return {v.details.split("header.s=")[1].split()[0] for v in message.verdicts if v.method == "dkim"}


@pytest.mark.proof(
    "no signature fails over a whole key rotation under mail, nor one of mail that waited over the switch"
)
def test_no_signature_fails_over_a_whole_rotation(story, evidence):
    judge(story, CALM, evidence)
    assert story.flow.wrong == []


@pytest.mark.proof("nor does one if the rotation is killed in state after state and run again")
def test_no_signature_fails_over_a_rotation_that_is_killed_again_and_again(story, evidence):
    judge(story, KILLED, evidence)
    print(f"MAILWRIGHT_SEED={SEED}: {story.kills}")  # noqa: T201 - to repeat it
    assert story.doomed == set(), story.kills
    evidence(f"killed at: {'; '.join(story.kills)}")


def judge(story, domain, evidence):
    mine = [story.arrived[subject] for sender, subject in story.flow.sent if sender == domain]
    assert {tuple(m.results("dkim")) for m in mine} == {("pass", "pass")}
    by_old = [m for m in mine if selectors(m) <= story.old[domain]]
    by_new = [m for m in mine if not selectors(m) & story.old[domain]]
    assert by_old
    assert by_new
    assert sorted(story.states(domain).values()) == ["deleted"] * 2 + ["signing"] * 2
    evidence(
        f"{domain}: {len(mine)} messages, {len(by_old)} by the old keys, {len(by_new)} by the new: all pass"
    )


def test_in_the_end_the_old_keys_are_nowhere_and_the_hosts_and_servers_are_as_planned(
    story, deployed, fleet_file
):
    for domain in SENDERS:
        for selector, state in story.states(domain).items():
            shown = deployed.ns.values(f"{selector}._domainkey.{domain}.", "TXT")
            assert bool(shown) == (state == "signing")
            for host in HOSTS:
                there = deployed.host(host).run(f"test -e /etc/opendkim/keys/{domain}/{selector}.pem").ok
                assert there == (state == "signing")
    planned = mailwright("plan", fleet_file)
    assert planned.returncode == 0, planned.stdout[-3000:]
    done = mailwright("dkim", "status", fleet_file)
    assert done.returncode == 0, done.stdout
