"""Certificates as clients and senders see them: on every port, and while a pinned key is exchanged."""

import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mailwright.certificate import new_key, request
from mailwright.command.inventory import open_site
from mailwright.lab.shell import wait_until
from mailwright.model.secrets_store import locate
from mailwright.rollover.subject import pinned
from tests.lab.deploying import ROOT, command, run
from tests.lab.variants import variant

CLIENT = Path(__file__).with_name("tls_client.py")
WATCH = Path(__file__).with_name("tlsa_watch.py")
PORTS = (25, 465, 587)
TTL = 30
ALGORITHMS = ("ecdsa", "rsa")
SENDER = "out1"
"""The host that delivers to the pinned exchanger and asks for its records."""


def certify(lab, request):
    """What the lab's authority makes of a request for a certificate."""
    files = [f"-{option}={lab.plan.state / name}" for option, name in (("CA", "ca.pem"), ("CAkey", "ca.key"))]
    words = [word for each in files for word in each.split("=")]
    done = subprocess.run(
        ["openssl", "x509", "-req", *words, "-copy_extensions", "copy", "-days", "30"],
        input=request,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def ok(*arguments, **options):
    done = run(command("mailwright", *arguments), **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def quickly(fleet):
    """Short times."""
    fleet["dns"] = {"ttl": TTL}


def with_rsa(fleet):
    """Short times, and an RSA certificate beside the ECDSA one on hosts whose key is pinned."""
    quickly(fleet)
    for machine in fleet["machines"]:
        settings = machine["roles"].get("postfix", {})
        if settings.get("dane"):
            settings["rsa_certificate"] = True


@pytest.fixture(scope="module")
def fleet_file(lab, deployed, tmp_path_factory):
    """The deployed fleet with short times and both algorithms; afterwards everything is as it was."""
    before = open_site(deployed.plan.file)
    secrets = before.secrets.vault.file
    kept, names = secrets.read_bytes(), pinned(before, None).names
    try:
        yield from served_by_both(lab, names, tmp_path_factory)
    finally:
        secrets.write_bytes(kept)
        flags = [w for name in names for w in ("--allow", f"tlsa=_25._tcp.{name}")]
        ok("dns", "apply", "--yes", deployed.plan.file, *flags)
        ok("apply", "--yes", deployed.plan.file)
        forget(lab)


def served_by_both(lab, names, tmp_path_factory):
    """Announce an RSA key beside the one in use, then serve it; yields the fleet file."""
    announced = variant(lab, tmp_path_factory.mktemp("announced"), quickly)
    with locate(open_site(announced).fleet, announced).changing() as content:
        key = new_key("rsa")
        content.secrets["certificate/smtp/rsa-privkey"] = key
        content.secrets["certificate/smtp/rsa-fullchain"] = certify(lab, request(key, names))
    ok("dns", "apply", "--yes", announced)
    inventory = variant(lab, tmp_path_factory.mktemp("served"), with_rsa)
    ok("apply", "--yes", inventory, "--no-dns", "--limit", exchanger(inventory).name)
    forget(lab)
    yield inventory


def forget(lab):
    """Have the sender's resolver and mail server begin with empty caches."""
    lab.host(SENDER).run("systemctl restart unbound; postfix reload").require()


def exchanger(inventory):
    return pinned(open_site(inventory), None).holders[0].machine


def trusted(lab):
    """Whatever authorities the hosts of the lab have certificates of."""
    return lab.ca.trusted.decode()


def places(site):
    """Every address, port, name and algorithm at which a certificate that somebody vouches for is served."""
    for machine in site.fleet.with_role("postfix"):
        if machine.roles["certificates"].get("mode", "self-signed") == "self-signed":
            continue
        plan = site.plan(machine)
        (certificate,) = [c for c in plan.merged.certificates if c.name == "smtp"]
        ports = sorted({p.number for p in plan.merged.ports if p.number in PORTS})
        addresses = [(a, ports) for a in machine.addresses]
        addresses += [(a, pool.ports) for pool in site.fleet.pools_of(machine.name) for a in pool.addresses]
        for address, open_ports in addresses:
            yield from (
                (str(address), port, name.removesuffix("."), algorithm)
                for port in open_ports
                for name in (certificate.names if address in machine.addresses else certificate.names[1:])
                for algorithm in certificate.algorithms
            )


@pytest.mark.proof("on every TLS port, for every name, a client that trusts the authority alone is served")
def test_every_port_serves_a_chain_that_verifies_for_every_name(lab, fleet_file, evidence):
    asked = list(dict.fromkeys(places(open_site(fleet_file))))
    words = {"trusted": trusted(lab), "places": asked}
    done = lab.host("outside").in_network([sys.executable, str(CLIENT)], stdin=json.dumps(words)).require()
    assert [fault for fault in json.loads(done.stdout) if fault] == []
    assert {algorithm for *_, algorithm in asked} == set(ALGORITHMS)
    rsa = sum(algorithm == "rsa" for *_, algorithm in asked)
    evidence(f"{len(asked)} handshakes verified, {rsa} of them by RSA")


class Watch:
    """Senders: one that compares records with keys once a second, and Postfix, which verifies by DANE."""

    def __init__(self, lab, inventory):
        self.lab = lab
        self.machine = exchanger(inventory)
        self.domain = next(d for d in open_site(inventory).fleet.domains if self.machine.name in d.mx)
        host = lab.host(SENDER)
        self.began = host.run("date +%s").stdout.strip()
        argv = [sys.executable, str(WATCH), self.machine.fqdn.bare, str(self.machine.ipv4)]
        argv += ["127.0.0.1", str(lab.plan.host("ns").address)]
        self.process = subprocess.Popen(host.network_argv(argv), stdout=subprocess.PIPE, text=True)
        self.seen, self.sent = [], 0
        self._done = threading.Event()
        self.threads = [threading.Thread(target=each) for each in (self._read, self._send)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: len(self.seen) > 2, "the watch sees something")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self._done.set()
        for thread in self.threads:
            thread.join()
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            self.seen.append(json.loads(line))

    def _send(self):
        address = f"bounces@{self.domain.name.bare}"
        while not self._done.wait(3):
            text = f"Subject: pinned {self.sent}\n\nhello\n"
            self.lab.host(SENDER).run(["sendmail", "-f", address, address], stdin=text).require()
            self.sent += 1

    def more(self, count=4):
        """Wait until it has looked some more times."""
        until = len(self.seen) + count
        wait_until(lambda: len(self.seen) >= until, "the watch goes on")

    def log(self, words):
        """How many lines of the sender's log since the beginning have some words."""
        found = self.lab.host(SENDER).run(f"journalctl --since @{self.began} -o cat | grep -cE '{words}'")
        return int(found.stdout)


def roll_killed_once(inventory):
    """Roll the key over; kill it when the next key has just become the one in use, and run it again."""
    words = command("mailwright", "certificates", "roll", "--yes", inventory)
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "the one in use from now on" in line:
            process.kill()
            break
    process.wait()
    process.stderr.close()
    assert process.returncode == -9
    return ok("certificates", "roll", "--yes", inventory)


@pytest.mark.proof("TLSA validates before, during and after a roll-over that is killed, asked once a second")
def test_no_sender_ever_meets_a_key_that_its_records_do_not_name(lab, fleet_file, evidence):
    before = pinned(open_site(fleet_file), None)
    for algorithm in ALGORITHMS:
        csr = ok("certificates", "request", fleet_file, "smtp", "--algorithm", algorithm)
        secret = f"certificate/smtp/{'rsa-' if algorithm == 'rsa' else ''}next-fullchain"
        ok("secrets", "set", fleet_file, secret, input=certify(lab, csr))
    with Watch(lab, fleet_file) as watch:
        said = roll_killed_once(fleet_file)
        watch.more(TTL // 2)
    assert before.name in said
    assert [each for each in watch.seen if each["fault"]] == []
    for algorithm in ALGORITHMS:
        keys = list(dict.fromkeys(each["served"] for each in watch.seen if each["algorithm"] == algorithm))
        assert len(keys) == 2, (algorithm, keys)
    counts = [count for count, _ in itertools.groupby(each["published"] for each in watch.seen)]
    assert counts == [2, 4, 2]
    verified = watch.log(f"Verified TLS connection established to {watch.machine.fqdn.bare}")
    assert watch.log("certificate not verified|Untrusted TLS connection established") == 0
    assert verified > 0
    ok("plan", fleet_file, "--limit", watch.machine.name)
    evidence(f"{len(watch.seen)} looks, {verified} deliveries verified by Postfix: not one mismatch")
