"""From the needs of a machine to its expectations: nothing is verified that no role declared."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any

from mailwright.model.needs import BackupPath, Certificate, Pair, Port, Scrape, Unit, User
from mailwright.model.role import Check
from mailwright.model.site import MachinePlan
from mailwright.observe import Observation
from mailwright.verify import judge, outside, questions, sockets
from mailwright.verify.expectation import Evidence, Expectation, Fault, Judge

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


def expectations(
    plan: MachinePlan, inventory: str = "INVENTORY", *, active: bool = False
) -> tuple[Expectation, ...]:
    """Everything that must hold on a machine, in the order of its roles; each need once.

    `active`: what does something that the world sees is asked for, too. `inventory` is what remedies name, so
    that they can be pasted. DNS records are left out: `mailwright dns check` asks the world's servers about
    them.
    """
    unique: dict[str, Expectation] = {}
    apply = f"mailwright apply {inventory} --limit {plan.machine.name}"
    for expectation in (
        *_of_machine(plan, apply),
        *_of_needs(plan, apply),
        *_of_checks(plan, plan.checks()),
        *_of_checks(plan, plan.probes() if active else ()),
        *outside.of_ports(plan),
        *outside.of_roles(plan),
    ):
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
    remedy = f"journalctl -u UNIT on {name} says why it ends"
    yield _asked(name, "", "restarts", questions.restarts(), remedy)
    if plan.merged.sysctls:
        question = questions.sysctls_on_disk(plan.merged.sysctls)
        remedy = f"remove the line from that file on {name}, or {apply}"
        yield _asked(name, "", "sysctls-on-disk", question, remedy)


def _asked(machine: str, role: str, name: str, question: questions.Question, remedy: str) -> Expectation:
    """An expectation with a question of its own."""

    def judged(evidence: Evidence) -> Fault | None:
        return question.judge(evidence.result(name))

    return Expectation(machine, role, name, judged, remedy, question.command)


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
        yield from (_timer(plan, role, u) for u in needs.units if _ticks(u))
        yield from (_scrape(plan, role, scrape) for scrape in needs.scrapes)
        yield from (_backup(plan, apply, role, path) for path in needs.backups)
        yield from (_certificate(plan, apply, role, c, pair) for c in needs.certificates for pair in c.pairs)


def _of_checks(plan: MachinePlan, checks: Iterable[tuple[str, Check]]) -> Iterator[Expectation]:
    for role, check in checks:
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


def _ticks(unit: Unit) -> bool:
    return unit.name.endswith(".timer") and unit.running and not unit.masked


def _timer(plan: MachinePlan, role: str, unit: Unit) -> Expectation:
    remedy = f"systemctl status {unit.name} on {plan.machine.name}, and journalctl -u of what it starts"
    return _asked(plan.machine.name, role, f"timer-{unit.name}", questions.timer(unit), remedy)


def _scrape(plan: MachinePlan, role: str, scrape: Scrape) -> Expectation:
    local = any((p.number, p.audience) == (scrape.port, "local") for p in plan.merged.ports)
    address = ip_address("127.0.0.1") if local else plan.machine.addresses[0]
    remedy = f"the exporter {scrape.name} is not running, listens elsewhere or is ill"
    name = f"scrape-{scrape.name}"
    asked = _asked(plan.machine.name, role, name, questions.scrape(scrape, address), remedy)

    def judged(evidence: Evidence) -> Fault | None:
        served = any((x.proto, x.port) == ("tcp", scrape.port) for x in evidence.after)
        nobody = Fault(f"{scrape.name} on port {scrape.port}/tcp", "nothing listens")
        return asked.judge(evidence) if served else nobody

    return replace(asked, judge=judged)


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
    found = check.judge(evidence.result(name))
    return Fault(check.name, found) if found is not None else None
