"""A machine that leaves hands its queue to another, which delivers it as it was; nobody else may."""

import json
import re
import uuid

import pytest

from mailwright.lab.shell import wait_until
from mailwright.model.pools import HAND_OVER_PORT
from tests.lab.mailing import auth_plain, dkimpy_verdicts, refusal, talk

LOGINS = {"newsletter": "bounces+42@brightpost.example", "shop": "orders@parcelnote.example"}
EHLO = "EHLO client.outside.example\r\n"
# Of a queue file (postcat(1)) what is said of sender and recipients, and what they asked for (RFC 3461).
ENVELOPE = re.compile(
    r"(sender|original_recipient|recipient): "
    r"|named_attribute: (envelope_id|ret_flags|notify_flags|dsn_orig_rcpt|encoding)="
)
CLOSED = (
    "add table inet closed; add chain inet closed output { type filter hook output priority 0; };"
    " add rule inet closed output oifname != lo tcp dport 25 reject with tcp reset"
)


@pytest.fixture(params=[("out1", "out2"), ("out2", "out1")], ids="-to-".join)
def pair(lab, request):
    """Who leaves and who takes its queue over: neither reaches the world at first."""
    hosts = [lab.host(name) for name in request.param]
    for host in hosts:
        host.in_network(["nft", CLOSED]).require()
    yield hosts
    for host in hosts:
        host.in_network(["nft", "delete table inet closed"])  # the test has opened one already


@pytest.fixture
def relaying(pair):
    """Returns a function that has the leaving machine give all its mail to an address."""
    leaving, _ = pair
    leaving.run("cp -p /etc/postfix/main.cf /root/main.cf").require()

    def to(nexthop):
        leaving.run(f"postconf -e 'relayhost = {nexthop}' && postfix reload").require()

    yield to
    # Started anew, so that the configuration is older than what runs.
    leaving.run("mv /root/main.cf /etc/postfix/main.cf && systemctl restart postfix").require()


def queue(host, tokens):
    """The envelopes of the messages with these subjects in a host's queue, by subject."""
    found = {}
    for entry in map(json.loads, host.run("postqueue -j").require().stdout.splitlines()):
        text = host.run(["postcat", "-q", "-e", "-h", entry["queue_id"]]).stdout
        subject = re.search(r"^Subject: (\S+)$", text, re.MULTILINE)
        if subject and subject[1] in tokens and entry["queue_name"] == "deferred":
            found[subject[1]] = [line for line in text.splitlines() if ENVELOPE.match(line)]
    return found


def submit(lab, site, machine, login):
    """Submit a message with all that a client may ask for (RFC 3461); returns its subject."""
    token, sender = uuid.uuid4().hex, LOGINS[login]
    replies = talk(
        lab.host("outside"),
        machine.ipv4,
        465,
        EHLO,
        auth_plain(login, site.secrets.get(f"submission/{login}")),
        f"MAIL FROM:<{sender}> BODY=8BITMIME RET=HDRS ENVID={token}\r\n",
        "RCPT TO:<anna@mailbox.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;Anna@mailbox.example\r\n",
        "RCPT TO:<ben@mailbox.example> NOTIFY=NEVER\r\n",
        "DATA\r\n",
        f"From: {sender}\r\nTo: anna@mailbox.example\r\nSubject: {token}\r\n\r\n"
        "Gr\xc3\xbc\xc3\x9fe,\r\n..dots and trailing space \r\n.\r\n",
        tls="wrapped",
    )
    assert refusal(replies).code == 250, replies
    return token


@pytest.mark.proof(
    "a queue that is handed over arrives from the other machine: spf, dkim (twice) and dmarc pass"
)
def test_a_queue_moves_to_another_machine_and_arrives(lab, site, pair, relaying, evidence):
    leaving, taking = pair
    old, new = (site.fleet.machine(host.name) for host in pair)
    tokens = [submit(lab, site, old, login) for login in LOGINS for _ in range(3)]
    wait_until(lambda: len(queue(leaving, tokens)) == len(tokens), "all messages are deferred", timeout=60)
    before = queue(leaving, tokens)
    assert all("named_attribute: ret_flags=2" in envelope for envelope in before.values())

    relaying(f"[{new.fqdn.bare}]:{HAND_OVER_PORT}")

    def arrived():
        leaving.run("postqueue -f").require()  # the queue manager of before the reload may still hear it
        return len(queue(taking, tokens)) == len(tokens)

    wait_until(arrived, "all messages are there", timeout=60, interval=1)
    assert queue(leaving, tokens) == {}
    # Senders, recipients and what to tell of them are what they were.
    assert queue(taking, tokens) == before

    taking.in_network(["nft", "delete table inet closed"]).require()
    taking.run("postqueue -f").require()
    for token in tokens:
        for user in ("anna", "ben"):
            message = lab.mailbox.wait_for(user, lambda m, token=token: m.subject == token)
            assert message.results("spf") == ["pass"]
            assert message.results("dkim") == ["pass", "pass"]
            assert message.results("dmarc") == ["pass"]
            assert dkimpy_verdicts(message.raw, lab.ns) == {"rsa-sha256": True, "ed25519-sha256": True}
            received = " ".join(" ".join(message.parsed.get_all("Received")).split())
            assert f"from {new.fqdn.bare} ({new.fqdn.bare} " in received
    evidence(f"{leaving.name} to {taking.name}: {len(tokens)} messages of 2 recipients each")


# --- who is not another sending machine


def offer(host, address, *, tls):
    """What a stranger to the port hears who brings mail for the world."""
    words = [EHLO, "MAIL FROM:<orders@parcelnote.example>\r\n", "RCPT TO:<anna@mailbox.example>\r\n"]
    return refusal(talk(host, address, HAND_OVER_PORT, *words, tls=tls))


def test_a_machine_s_own_programs_cannot_relay_by_it(lab, site):
    for machine in site.fleet.with_role("postfix"):
        for address in (*machine.addresses, "127.0.0.1", "::1"):
            assert offer(lab.host(machine.name), address, tls="starttls").code == 554, (machine.name, address)


def test_nothing_is_handed_over_without_tls(lab, site):
    one, other, *_ = site.fleet.with_role("postfix")
    for address in other.addresses:
        assert offer(lab.host(one.name), address, tls=None).code == 530
        assert offer(lab.host(one.name), address, tls="starttls").code == 250
