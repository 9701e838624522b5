"""From the needs of a machine to its expectations: nothing is verified that no role declared."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any

from mailwright.model.needs import BackupPath, Certificate, Pair, Port, Scrape, User
from mailwright.model.role import Check
from mailwright.model.site import MachinePlan
from mailwright.observe import Observation
from mailwright.verify import judge, sockets
from mailwright.verify.batch import TIMED_OUT
from mailwright.verify.expectation import Evidence, Expectation, Fault, Judge, UnknownError

_OF_OBSERVATION: tuple[tuple[str, str, Callable[[Any, Observation], Fault | None]], ...] = (
    # What `Needs` calls it, what the report calls it with the need's own name, and who judges it.
    ("packages", "package-{0.name}", judge.package),
    ("users", "user-{0.name}", judge.user),
    ("directories", "directory-{0.path}", judge.directory),
    ("files", "file-{0.path}", judge.file),
    ("absent", "absent-{0.path}", judge.absent),
    ("sysctls", "sysctl-{0.key}", judge.sysctl),
    ("units", "unit-{0.name}", judge.unit),
)


def expectations(plan: MachinePlan, inventory: str = "INVENTORY") -> tuple[Expectation, ...]:
    """Everything that must hold on a machine, in the order of its roles; each need once.

    `inventory` is what remedies name, so that they can be pasted. DNS records are left out: `mailwright
    dns check` asks the world's servers about them.
    """
    unique: dict[str, Expectation] = {}
    apply = f"mailwright apply {inventory} --limit {plan.machine.name}"
    for expectation in (*_of_machine(plan, apply), *_of_needs(plan, apply), *_of_checks(plan)):
        unique.setdefault(expectation.name, expectation)
    return tuple(unique.values())


def _of_machine(plan: MachinePlan, apply: str) -> Iterator[Expectation]:
    name, debian = plan.machine.name, plan.machine.debian
    yield Expectation(
        name,
        "",
        "release",
        _seen(partial(judge.release, debian)),
        f"say `debian:` in the fleet file as it is, or reinstall {name}",
    )
    yield Expectation(name, "", "packages-whole", _seen(judge.whole), apply)
    yield Expectation(
        name,
        "",
        "listeners",
        partial(_listeners, plan.merged.ports),
        "stop and disable what listens there, or declare the port in the role that needs it",
    )


def _of_needs(plan: MachinePlan, apply: str) -> Iterator[Expectation]:
    for role, needs in plan.by_role.items():
        make = partial(Expectation, plan.machine.name, role)
        for kind, name, judgement in _OF_OBSERVATION:
            for need in getattr(needs, kind):
                made = make(name.format(need), _seen(partial(judgement, need)), apply)
                remark = isinstance(need, User) and partial(judge.other_numbers, need)
                yield replace(made, remark=remark) if remark else made
        for port in needs.ports:
            # VRRP is a protocol of IP without ports: nothing listens.
            if port.proto != "vrrp" and not port.brief:
                remedy = f"journalctl -b on {plan.machine.name}: why does nothing serve {port.reason}?"
                yield make(
                    f"port-{port.number}/{port.proto}-{port.readers}" + "".join(f"-{a}" for a in port.at),
                    _port(plan, port),
                    remedy,
                )
        for scrape in needs.scrapes:
            remedy = f"the exporter {scrape.name} is not running or listens elsewhere"
            yield make(f"scrape-{scrape.name}", partial(_scrape, scrape), remedy)
        yield from (_backup(plan, apply, role, path) for path in needs.backups)
        yield from (_certificate(plan, apply, role, c, pair) for c in needs.certificates for pair in c.pairs)


def _of_checks(plan: MachinePlan) -> Iterator[Expectation]:
    for role, check in plan.checks():
        name = f"check-{role}-{check.name}"
        judged = partial(_check, check, name)
        yield Expectation(plan.machine.name, role, name, judged, check.remedy, check.command)


def _seen(judgement: Callable[[Observation], Fault | None]) -> Judge:
    return lambda evidence: judgement(evidence.observation)


def _listeners(ports: tuple[Port, ...], evidence: Evidence) -> Fault | None:
    strange = sockets.undeclared(ports, evidence.before, evidence.after)
    return Fault("declared ports only", ", ".join(map(str, strange))) if strange else None


def _port(plan: MachinePlan, port: Port) -> Judge:
    def judged(evidence: Evidence) -> Fault | None:
        addresses = tuple(map(ip_address, port.at)) or plan.machine.addresses
        found = sockets.closed(port, evidence.after, addresses)
        where = "loopback" if port.audience == "local" else ", ".join(map(str, addresses))
        return Fault(f"{port.reason} on {where}", found) if found else None

    return judged


def _scrape(scrape: Scrape, evidence: Evidence) -> Fault | None:
    served = any((x.proto, x.port) == ("tcp", scrape.port) for x in evidence.after)
    return None if served else Fault(f"{scrape.name} on port {scrape.port}/tcp", "nothing listens")


def _backup(plan: MachinePlan, apply: str, role: str, path: BackupPath) -> Expectation:
    name = f"backup-{path.path}"

    def judged(evidence: Evidence) -> Fault | None:
        there = evidence.result(name).status == 0
        return None if there else Fault(f"{path.reason} to back up", "nothing there")

    command = f"test -e {shlex.quote(path.path)}"
    return Expectation(plan.machine.name, role, name, judged, apply, command)


def _certificate(
    plan: MachinePlan, apply: str, role: str, certificate: Certificate, pair: Pair
) -> Expectation:
    name = f"certificate-{pair.prefix}{certificate.name}"
    chain, key = map(shlex.quote, (pair.chain, pair.key))
    # The three questions in one command: is it valid now, for which names, and is the key its own.
    command = (
        f"openssl x509 -in {chain} -noout -checkend 0 -ext subjectAltName && "
        f'[ "$(openssl x509 -in {chain} -noout -pubkey)" = "$(openssl pkey -in {key} -pubout)" ]'
    )

    def judged(evidence: Evidence) -> Fault | None:
        result = evidence.result(name)
        words = result.stdout.replace(",", " ").split()
        lacking = [
            n.removesuffix(".") for n in certificate.names if f"DNS:{n.removesuffix('.')}" not in words
        ]
        if result.status != 0:
            return Fault("a valid certificate with its key", (result.stderr or result.stdout).strip()[:300])
        return Fault(f"names {', '.join(lacking)}", "not in the certificate") if lacking else None

    return Expectation(plan.machine.name, role, name, judged, apply, command)


def _check(check: Check, name: str, evidence: Evidence) -> Fault | None:
    result = evidence.result(name)
    if result.status == TIMED_OUT:
        raise UnknownError("no answer in time")
    found = check.judge(result)
    return Fault(check.name, found) if found is not None else None
