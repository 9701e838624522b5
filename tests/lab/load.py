"""Load in the lab: a faithful client in a host's network, and the account of what it handed in."""

import json
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from mailwright.lab.shell import wait_until
from tests.lab.deploying import ROOT
from tests.lab.faithful import figures, prober
from tests.lab.faithful.account import Arrival, account
from tests.lab.faithful.journal import read

SENDERS = {"newsletter": "bounces@brightpost.example", "shop": "orders@parcelnote.example"}
_WANTED = r"^(X-Transaction: |Received: by [^ ]+ \(Postfix\) id )"
# Enough for a queue of thousands on a machine that has other things to do.
PATIENCE = 600


class Load:
    """A client at work. What it knows is in its journal, whether or not it still runs."""

    def __init__(self, lab, order, journal):
        self.lab, self.order, self.journal = lab, order, Path(journal)
        self.user = order["recipient"].partition("@")[0]
        self._process = None

    def start(self, host="outside"):
        self.journal.touch()
        self._process = _started(self.lab.host(host), "tests.lab.faithful", self.order, self.journal)

    @property
    def accepted(self):
        """How many messages were answered 250 so far."""
        return self.journal.read_bytes().count(b'"outcome": "accepted"')

    def wait_for(self, count, timeout=PATIENCE):
        """Wait until `count` messages were answered 250; raises if the client ends before."""

        def there():
            ended = self._process.poll() is not None
            if self.accepted >= count:
                return True
            assert not ended, self.journal.with_suffix(".stderr").read_text()
            return False

        wait_until(there, f"{count} messages are taken", timeout=timeout, interval=0.1)

    def more(self, count, timeout=PATIENCE):
        """Wait until `count` more were answered 250."""
        self.wait_for(self.accepted + count, timeout)

    def stop(self, timeout=PATIENCE):
        """Tell it to bring to an end what it began; returns its statistics."""
        self._process.send_signal(signal.SIGTERM)
        return self.finish(timeout)

    def finish(self, timeout=PATIENCE):
        """Wait until it is done; returns its statistics."""
        status = self._process.wait(timeout)
        assert status == 0, self.journal.with_suffix(".stderr").read_text()
        return self.statistics

    def kill(self):
        """End it where it stands."""
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    @property
    def histories(self):
        with self.journal.open() as lines:
            return read(lines)

    @property
    def statistics(self):
        return figures.statistics(self.histories)

    def arrivals(self):
        """Every copy at the mailbox provider."""
        return [_arrival(at, lines) for at, lines in self.lab.mailbox.lines(self.user, _WANTED)]

    def settle(self, *hosts, timeout=PATIENCE):
        """Wait until nothing is queued at these hosts or at the provider; returns the account."""
        wait_until_delivered(self.lab, *hosts, timeout=timeout)
        return account(self.histories, self.arrivals())


def _started(host, module, order, journal):
    """A program of the tests in a host's network, with its order; its errors go beside its journal."""
    with journal.with_suffix(".stderr").open("w") as errors:
        process = subprocess.Popen(
            host.network_argv([sys.executable, "-m", module]),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    return process


def _arrival(at, lines):
    key = next((line.split()[1] for line in lines if line.startswith("X-Transaction")), "")
    # Each host puts its own on top: the lowest one is of the host that took the message from the client.
    queues = [line.split()[5].rstrip(";") for line in lines if line.startswith("Received")]
    return Arrival(key, at, queues[-1] if queues else "")


@contextmanager
def load(
    lab, site, folder, addresses, *, port=465, name="smtp.brightpost.example", login="shop", ca=None, **more
):
    """A client (its `Order` says what else) that hands mail in; killed in the end if it was not stopped."""
    run = f"run{uuid.uuid4().hex[:8]}"
    target = {
        "addresses": [str(address) for address in addresses],
        "port": port,
        "tls": "starttls" if port == 587 else "wrapped",
        "name": name,
        "login": login,
        "password": site.secrets.get(f"submission/{login}"),
        "ca": ca and str(ca),
        "patience": more.pop("patience", 15),
    }
    journal = Path(folder) / f"{run}.jsonl"
    mail = {"sender": SENDERS[login], "recipient": f"{run}@mailbox.example"}
    work = Load(lab, {"target": target, "run": run, "journal": str(journal), **mail, **more}, journal)
    work.start()
    try:
        yield work
    finally:
        work.kill()


@contextmanager
def probing(lab, folder, addresses, port=587):
    """Probes of these addresses; gives a function: the longest outage between two times, in seconds."""
    journal = Path(folder) / f"probes{uuid.uuid4().hex[:8]}.jsonl"
    journal.touch()
    order = {"addresses": [str(a) for a in addresses], "port": port, "every": 0.1, "patience": 1}
    process = _started(
        lab.host("outside"), "tests.lab.faithful.prober", {**order, "journal": str(journal)}, journal
    )

    def outage(begin, end):
        with journal.open() as lines:
            return prober.outage(lines, order["addresses"], begin, end)

    try:
        yield outage
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def queued(host):
    """How many messages are in a host's queue."""
    return host.run("postqueue -j").require().stdout.count("\n")


def wait_until_delivered(lab, *hosts, timeout=PATIENCE):
    """Flush these hosts' queues until they are empty, and wait for the provider's."""

    def delivered():
        busy = [host for host in hosts if queued(host)]
        for host in busy:
            host.run("postqueue -f").require()
        return not busy and not queued(lab.host("mailbox"))

    wait_until(delivered, "queues are empty", timeout=timeout, interval=0.5)


def close_provider(lab):
    """The mailbox provider refuses connections, so that mail to it stays queued."""
    rules = (
        "add table inet closed; add chain inet closed input { type filter hook input priority 0; };"
        " add rule inet closed input tcp dport 25 reject with tcp reset"
    )
    lab.host("mailbox").in_network(["nft", rules]).require()


def open_provider(lab):
    """The provider takes mail; it may do so already."""
    lab.host("mailbox").in_network(["nft", "add table inet closed; delete table inet closed"]).require()
