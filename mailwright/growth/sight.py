"""What is seen of a machine that joins or leaves: by SSH, in the DNS, and by a client of its pools."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from maildns.judging.check import State, Verdict
from maildns.policy.hosts import reverse_name
from maildns.records import RrKey
from mailwright.dnscheck import check_site
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.pools import MAIL
from mailwright.model.site import Site
from mailwright.verify.gather import Run

WRAPPED = 465
"""Where TLS comes before the greeting (RFC 8314)."""
_TIMEOUT = 15.0


def answers(machine: Machine, run: Run) -> str:
    """See that a machine answers on SSH and is what the fleet file says; one line about it.

    Raises:
        MailwrightError: it does not, or is another Debian.
    """
    try:
        said = run('. /etc/os-release; echo "$ID $VERSION_ID"; id -u')
    except UnknownError as error:
        where = f"{machine.ssh.user}@{machine.ssh_address} port {machine.ssh.port}"
        raise MailwrightError(f"{machine.name} does not answer on SSH ({where}): {error}") from None
    system, user, *_ = (*said.stdout.splitlines(), "", "")
    if user != "0":
        raise MailwrightError(f"{machine.name}: this needs root, or a user with passwordless sudo")
    if system != f"debian {machine.debian}":
        raise MailwrightError(
            f"{machine.name}: the fleet says Debian {machine.debian}, the machine is {system or 'silent'}"
        )
    return f"{machine.name} answers at {machine.ssh_address} and runs Debian {machine.debian}"


def verdicts(site: Site, machine: Machine) -> list[Verdict]:
    """What the world sees of a machine's own names and of its right to send, from every server.

    What leads clients to it is no part of that.
    """
    own = {str(machine.fqdn), *(reverse_name(ip) for ip in machine.addresses)}
    domains = {str(domain.name) for domain in site.fleet.domains}
    ours = {str(ip) for ip in machine.addresses}
    found = check_site(site, ["records", "fcrdns", "spf", *own, *domains])
    return [
        verdict
        for verdict in found
        if verdict.subject in own or (verdict.kind == "spf" and ours & set(verdict.what.split()))
    ]


def wait_until_seen(
    site: Site,
    machine: Machine,
    patience: float,
    say: Callable[[str], None] = lambda _: None,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Ask until the world sees all of it, or `patience` seconds are over; one line about it.

    Raises:
        MailwrightError: with a line for each thing that is not seen, and what to do.
    """
    began = clock()
    told: list[str] = []
    while True:
        found = verdicts(site, machine)
        wrong = [_line(verdict) for verdict in found if verdict.state is not State.OK]
        if not wrong:
            return f"{len(found)} verdicts ok: records at every server, both ways of each name, SPF"
        if wrong != told:
            say(f"waiting for {len(wrong)}: {wrong[0]}")
            told = wrong
        if clock() - began >= patience:
            raise MailwrightError("\n".join(wrong))
        pause(2)


def unseen(site: Site, keys: Collection[RrKey]) -> list[str]:
    """What the world sees otherwise than `site` has it, of these sets; a line for each."""
    found = check_site(site, ["records", *{name for name, _ in keys}]) if keys else ()
    return [
        f"{verdict.subject} {verdict.what}: {verdict.sentence}"
        for verdict in found
        if verdict.state is not State.OK and (verdict.subject, verdict.what) in keys
    ]


def _line(verdict: Verdict) -> str:
    remedy = f"; to do: {verdict.remedy}" if verdict.remedy else ""
    return f"{verdict.subject} {verdict.what}: {verdict.sentence}{remedy}"


@dataclass(frozen=True)
class Door:
    """An address and port at which clients are served."""

    address: str
    port: int
    whose: str
    """A pool's or a machine's name."""

    def __str__(self) -> str:
        """As messages call it."""
        return f"{self.whose} at {self.address} port {self.port}"


def doors(fleet: Fleet, machine: Machine) -> Iterator[Door]:
    """Where clients of a machine's pools are served: at virtual addresses, or at its own."""
    for pool in fleet.pools_of(machine.name):
        for address in pool.addresses if pool.balancers else machine.addresses:
            yield from (Door(str(address), port, pool.name) for port in pool.ports)


def greet(all_doors: Iterable[Door]) -> str:
    """Talk to a server behind each door up to QUIT, over TLS; one line about it.

    Raises:
        MailwrightError: one does not answer as it should.
    """
    count = 0
    for door in all_doors:
        try:
            with _session(door) as smtp:
                code, said = smtp.ehlo()
                if code != 250:  # noqa: PLR2004 - RFC 5321 4.2.3
                    raise MailwrightError(f"{door}: {code} {' '.join(said.decode(errors='replace').split())}")
                if door.port != MAIL and not smtp.has_extn("auth"):
                    raise MailwrightError(f"{door}: it offers no login within TLS")
        except (OSError, smtplib.SMTPException) as error:
            raise MailwrightError(f"{door}: {error}") from None
        count += 1
    return f"{count} dialogues up to QUIT" if count else "no pool has it"


@contextmanager
def _session(door: Door) -> Iterator[smtplib.SMTP]:
    # Whose certificate is whose is the suite's to judge; a lab has its own authority.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if door.port == WRAPPED:
        with smtplib.SMTP_SSL(door.address, door.port, timeout=_TIMEOUT, context=context) as smtp:
            yield smtp
        return
    with smtplib.SMTP(door.address, door.port, timeout=_TIMEOUT) as smtp:
        smtp.starttls(context=context)
        yield smtp
