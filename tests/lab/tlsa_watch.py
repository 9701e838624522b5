"""A sender that asks once a second: does what the server shows fit its TLSA records? Run as a program.

    python tlsa_watch.py HOST ADDRESS RESOLVER AUTHORITY

asks a validating resolver that caches (as senders do) and an authoritative server, connects to port 25 as a
client that knows ECDSA keys only, the next time RSA keys only, and prints a line of JSON each time.
"""

import itertools
import json
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256

import dns.flags
import dns.message
import dns.query
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maildns.asking.dial import dial
from maildns.asking.starttls import served_chain
from maildns.errors import MaildnsError
from maildns.judging.dane import mismatch
from maildns.policy.tlsa import Tlsa

TIMEOUT = 5


def records(name, server):
    """The values of a TLSA set, and whether the server says that it has validated them."""
    query = dns.message.make_query(name, "TLSA", want_dnssec=True)
    query.flags |= dns.flags.AD
    answer = dns.query.tcp(query, server, timeout=TIMEOUT)
    found = [r for each in answer.answer for r in each if each.rdtype.name == "TLSA"]
    return sorted(r.to_text() for r in found), bool(answer.flags & dns.flags.AD)


def look(host, address, resolver, authority, algorithm):
    """What there is to be seen at a moment."""
    name = f"_25._tcp.{host}."
    cached, validated = records(name, resolver)
    chain = served_chain(host, address, "watch.internal", dial, algorithm=algorithm)
    published, _ = records(name, authority)
    why = mismatch([Tlsa.parse(value) for value in cached], chain, host, datetime.now(UTC))
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "algorithm": algorithm,
        "served": sha256(spki).hexdigest(),
        "cached": len(cached),
        "published": len(published),
        "fault": why or (None if validated else "the resolver has not validated the records"),
    }


def main(host, address, resolver, authority):
    for algorithm in itertools.cycle(("ecdsa", "rsa")):
        began = time.monotonic()
        try:
            seen = look(host, address, resolver, authority, algorithm)
        except (MaildnsError, OSError, dns.exception.DNSException) as error:
            seen = {"algorithm": algorithm, "fault": f"{type(error).__name__}: {error}"}
        print(json.dumps({"at": time.time(), **seen}), flush=True)  # noqa: T201 - its output
        time.sleep(max(0.0, 1 - (time.monotonic() - began)))


if __name__ == "__main__":
    main(*sys.argv[1:])
