"""Mail in the lab: what is sent, from where, and what became of it."""

import json
import sys
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import dkim

CLIENT = Path(__file__).with_name("smtp_client.py")


@dataclass(frozen=True)
class Reply:
    """What a server answered. `code` 0: nothing, the connection is closed."""

    code: int
    lines: tuple[str, ...]

    def __str__(self):
        return f"{self.code} {' / '.join(self.lines)}"


def talk(host, address, port, *say, tls=None, proxy=None):
    """Say things to a server from a lab host's network; returns the replies, the greeting's first.

    `proxy` is the beginning as of a balancer: client, its port, server, its port; or () for LOCAL.
    """
    words = {"address": str(address), "port": port, "say": say, "tls": tls, "proxy": proxy}
    done = host.in_network([sys.executable, str(CLIENT)], stdin=json.dumps(words)).require()
    return [Reply(code, tuple(lines)) for code, lines in json.loads(done.stdout)]


def refusal(replies):
    """The first reply that refuses, or the last one."""
    return next((r for r in replies if r.code >= 400 or r.code == 0), replies[-1])


def auth_plain(login, password):
    token = b64encode(f"\0{login}\0{password}".encode()).decode()
    return f"AUTH PLAIN {token}\r\n"


def transaction(sender, *recipients, body=None):
    """The commands of one message, in order."""
    text = body or f"From: {sender}\r\nTo: {recipients[0]}\r\nSubject: lab\r\n\r\nhello"
    return [
        f"MAIL FROM:<{sender}>\r\n",
        *(f"RCPT TO:<{recipient}>\r\n" for recipient in recipients),
        "DATA\r\n",
        f"{text}\r\n.\r\n",
    ]


def dkimpy_verdicts(raw, ns):
    """What dkimpy finds of each signature, by its algorithm, with keys from the lab's name server."""

    def lookup(name, **_):
        values = ns.values(name.decode(), "TXT")
        return "".join(values).replace('" "', "").strip('"').encode() or None

    message = b"\r\n".join(raw.replace(b"\r\n", b"\n").split(b"\n"))
    found = {}
    headers, _ = dkim.rfc822_parse(message)
    signatures = [value for name, value in headers if name.lower() == b"dkim-signature"]
    for index, value in enumerate(signatures):
        algorithm = dkim.util.parse_tag_value(value)[b"a"].decode()
        found[algorithm] = dkim.DKIM(message).verify(index, dnsfunc=lookup)
    return found


def doors(site, lab):
    """Port to the lab's hosts that open it to the world at their own addresses, with their machines."""
    found = {}
    for machine in site.fleet.machines:
        for port in site.plan(machine).merged.ports:
            if port.audience == "public" and not port.at:
                found.setdefault(port.number, []).append((lab.host(machine.name), machine))
    return found
