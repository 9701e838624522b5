"""nmap: which ports a stranger finds open, and whether anybody would relay for him."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

from audit.installed import release
from audit.subjects import OUTSIDE, Subjects
from audit.verdict import Finding, JudgeError, Task, Verdict
from mailwright.model.fleet import Machine
from mailwright.model.needs import Port

NAME = "nmap"
TITLE = "Ports"
ABOUT = """\
Every TCP port of each kind of machine and of the pools' virtual addresses, the hundred most common ones of
UDP, and IPv6 alike, seen from a stranger's host. Marked down is what answers and is not declared as public,
what is declared and does not answer, and whoever relays (`smtp-open-relay`)."""
_SECONDS = 900
_TCP = ("-sS", "-p", "1-65535")
_UDP = ("-sU", "--top-ports", "100")
# Nobody answers where the firewall drops: without a floor to the rate a scan of one host takes an hour.
_PACE = ("-T4", "--min-rate", "2000", "--max-retries", "2", "--host-timeout", "600s")
_MAIL = (25, 587)
_RELAY = re.compile(r"smtp-open-relay: (.+)")


def version() -> str:
    """What is installed."""
    return release("nmap")


def tasks(subjects: Subjects) -> Iterator[Task]:
    """A run for each address."""
    for place, address, ports in _addresses(subjects):
        public = {(str(p.proto), p.number) for p in ports if p.audience == "public" and p.proto != "vrrp"}
        yield Task(f"{place} {address}", partial(judge, subjects, place, address, public))


def _addresses(subjects: Subjects) -> Iterator[tuple[str, str, Sequence[Port]]]:
    """Each machine's addresses with what is served there, and each pool's."""
    for machine in subjects.machines:
        for address in machine.addresses:
            yield machine.name, str(address), [p for p in subjects.ports(machine) if not p.at]
    for pool in subjects.site.fleet.pools:
        balancers = [m for m in map(subjects.site.fleet.machine, pool.balancers) if _judged(subjects, m)]
        for virtual in map(str, pool.addresses if balancers else ()):
            yield pool.name, virtual, [p for p in subjects.ports(balancers[0]) if virtual in p.at]


def _judged(subjects: Subjects, machine: Machine) -> bool:
    return not subjects.only or machine in subjects.machines


def judge(subjects: Subjects, place: str, address: str, public: set[tuple[str, int]]) -> tuple[Verdict, ...]:
    """Scan an address, and try to relay through its mail ports.

    Raises:
        JudgeError: a scan did not end, or did not say whether mail is relayed.
    """
    open_ports: set[tuple[str, int]] = set()
    for kind in (_TCP, _UDP):
        open_ports |= parse(_nmap(subjects, address, *kind, *_PACE, "-oG", "-"))
    told = [
        *(Finding(f"{number}/{proto}", "open") for proto, number in sorted(open_ports - public)),
        *(
            Finding(f"{number}/{proto}", "declared as public and not open")
            for proto, number in sorted(public - open_ports)
        ),
    ]
    mail = [number for number in _MAIL if ("tcp", number) in open_ports]
    if mail:
        ports = ",".join(map(str, mail))
        script = ("-sT", "-p", ports, "--script", "smtp-open-relay", "--script-timeout", "300s", "-oN", "-")
        told += relays(_nmap(subjects, address, *script), len(mail))
    names = ", ".join(f"{number}/{proto}" for proto, number in sorted(open_ports, key=lambda p: (p[0], p[1])))
    summary = f"open: {names or 'nothing'}" + ("; relays for nobody" if mail else "")
    return (Verdict(f"{place} {address}", summary, tuple(told)),)


def _nmap(subjects: Subjects, address: str, *options: str) -> str:
    six = ("-6",) if ":" in address else ()
    argv = ["nmap", "-n", "-Pn", *six, *options, address]
    done = subjects.host(OUTSIDE).in_network(argv, timeout=_SECONDS)
    if not done.ok:
        raise JudgeError(f"nmap failed: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def parse(said: str) -> set[tuple[str, int]]:
    """The open ports of a scan in nmap's greppable form, as (protocol, number).

    Raises:
        JudgeError: the scan was given up.
    """
    if "(1 host up)" not in said or "Timeout" in said:
        raise JudgeError(f"nmap did not get to its end: {said.strip()[-200:] or 'it said nothing'}")
    return {(proto, int(number)) for number, proto in re.findall(r"(\d+)/open/(tcp|udp)/", said)}


def relays(said: str, asked: int) -> Iterator[Finding]:
    """What the script said of as many ports.

    Raises:
        JudgeError: it said nothing of one of them.
    """
    answers = _RELAY.findall(said)
    if len(answers) != asked:
        raise JudgeError(f"smtp-open-relay judged {len(answers)} of {asked} ports: {said.strip()[-200:]}")
    for answer in answers:
        if "is an open relay" in answer or "may be" in answer:
            yield Finding("smtp-open-relay", answer)
