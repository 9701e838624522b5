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
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from bench.tables import Column
from mailwright.lab.host import LabHost
from mailwright.lab.lab import Lab
from mailwright.model.secrets_store import open_secrets

MACHINE = "out1"
CONNECTIONS = 8
MESSAGES = 100
"""On each connection."""
SIZE = 8192
"""Octets of a body."""
RATE = Column("median", lambda rate: f"{rate:.0f}/s", "rate against signing", digits=2)
SERVICES = ("submission", "submissions")

Job = tuple[str, str, str, str]
"""Address, login, password and envelope sender."""


def measure(lab: Lab, rounds: int) -> dict[str, list[float]]:
    """Messages a second of each way, in turn; the first round of each is not counted."""
    host = lab.host(MACHINE)
    rates: dict[str, list[float]] = {"signed with RSA-2048 and Ed25519": [], "not signed": []}
    with kept(host):
        for number in range(rounds + 1):
            for name, runs in rates.items():
                _milters(host, on=name.startswith("signed"))
                taken = rate(job(lab))
                must(host, "postsuper -d ALL")
                if number:
                    runs.append(taken)
                    print(f"  round {number}: {name}: {taken:.0f} messages/s", flush=True)
    return rates


def job(lab: Lab) -> Job:
    """Who submits to the machine: its address, a login with its password, and the envelope sender."""
    sender = lab.plan.fleet.senders[0]
    password = open_secrets(lab.plan.fleet, lab.plan.file).get(f"submission/{sender.login}")
    return lab.host(MACHINE).host.address, sender.login, password, f"bench{sender.addresses[0]}"


@contextmanager
def kept(host: LabHost) -> Iterator[None]:
    """Let a host keep what it takes: nothing is delivered meanwhile."""
    must(host, "postconf -e defer_transports=smtp && postfix reload")
    try:
        yield
    finally:
        _milters(host, on=True)
        must(host, "postconf -X defer_transports && postfix reload")


def rate(job: Job) -> float:
    """Messages a second that a host takes."""
    with ProcessPoolExecutor(max_workers=CONNECTIONS) as pool:
        began = time.monotonic()
        sent = sum(pool.map(_submit, [job] * CONNECTIONS))
        return sent / (time.monotonic() - began)


def _submit(job: Job) -> int:
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
    must(host, f"postconf -P {changes} && postfix reload")


def must(host: LabHost, command: str, stdin: str | bytes | None = None, timeout: float = 120) -> None:
    """Run a command on a host.

    Raises:
        RuntimeError: it failed.
    """
    done = host.run(command, stdin, timeout)
    if not done.ok:
        raise RuntimeError(f"{host.name}: {command}: {done.stderr}")
