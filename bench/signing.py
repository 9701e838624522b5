"""What signing costs: messages a second that a machine takes on 587, signed twice and not at all.

The peer is the same Postfix with its milters taken out, in turn within one run. Nothing is delivered
meanwhile (the transport is deferred), so that only taking, signing and queueing is measured. Generator
and host share the processors: the ratio is worth reading, the rates are this machine's.
"""

from __future__ import annotations

import os
import smtplib
import ssl
import time
from concurrent.futures import ProcessPoolExecutor

from bench.tables import Column
from mailwright.lab.host import LabHost
from mailwright.lab.lab import Lab
from mailwright.model.secrets_store import open_secrets

CONNECTIONS = 8
MESSAGES = 100
"""On each connection."""
SIZE = 8192
"""Octets of a body."""
RATE = Column("median", lambda rate: f"{rate:.0f}/s", "rate against signing", digits=2)
SERVICES = ("submission", "submissions")


def measure(lab: Lab, rounds: int) -> dict[str, list[float]]:
    """Messages a second of each way, in turn; the first round of each is not counted."""
    host = lab.host("out1")
    sender = lab.plan.fleet.senders[0]
    password = open_secrets(lab.plan.fleet, lab.plan.file).get(f"submission/{sender.login}")
    address = f"bench{sender.addresses[0]}"
    job = (host.host.address, sender.login, password, address)
    rates: dict[str, list[float]] = {"signed with RSA-2048 and Ed25519": [], "not signed": []}
    _must(host, "postconf -e defer_transports=smtp && postfix reload")
    try:
        for number in range(rounds + 1):
            for name, runs in rates.items():
                _milters(host, on=name.startswith("signed"))
                rate = _rate(job)
                _must(host, "postsuper -d ALL")
                if number:
                    runs.append(rate)
                    print(f"  round {number}: {name}: {rate:.0f} messages/s", flush=True)
    finally:
        _milters(host, on=True)
        _must(host, "postconf -X defer_transports && postfix reload")
    return rates


def _rate(job: tuple[str, str, str, str]) -> float:
    with ProcessPoolExecutor(max_workers=CONNECTIONS) as pool:
        began = time.monotonic()
        sent = sum(pool.map(_submit, [job] * CONNECTIONS))
        return sent / (time.monotonic() - began)


def _submit(job: tuple[str, str, str, str]) -> int:
    host, login, password, address = job
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # self-signed in the lab
    text = f"From: <{address}>\r\nTo: <bench@mailbox.example>\r\nSubject: bench\r\n\r\n"
    text += ("x" * 70 + "\r\n") * (SIZE // 72)
    with smtplib.SMTP(host, 587, timeout=60) as smtp:
        smtp.starttls(context=context)
        smtp.login(login, password)
        for number in range(MESSAGES):
            message = f"Message-ID: <{os.getpid()}.{number}.{time.time_ns()}@bench.example>\r\n{text}"
            smtp.sendmail(address, ["bench@mailbox.example"], message)
    return MESSAGES


def _milters(host: LabHost, *, on: bool) -> None:
    value = "$submission_milter_maps" if on else ""
    changes = " ".join(f"'{service}/inet/smtpd_milter_maps={value}'" for service in SERVICES)
    _must(host, f"postconf -P {changes} && postfix reload")


def _must(host: LabHost, command: str) -> None:
    done = host.run(command)
    if not done.ok:
        raise RuntimeError(f"{host.name}: {command}: {done.stderr}")
