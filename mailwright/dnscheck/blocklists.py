"""Every sending address and every domain at every list, once the list has proved that it answers us."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from maildns.asking.authority import AskError
from maildns.judging.blocklist import DEFAULTS, KIND, Blocklist, Reply, distrust, judge, unbelieved
from maildns.judging.check import State, Verdict
from mailwright.dnscheck.asking import Asking
from mailwright.dnscheck.task import Task
from mailwright.zones import SENDS


def lists_of(asking: Asking) -> tuple[Blocklist, ...] | None:
    """The lists to ask; `None` in a lab that names none of its own: no public list is asked about it."""
    said = asking.fleet.dns.blocklists
    if said is None:
        return None if asking.world.lab else DEFAULTS
    return tuple(Blocklist(str(b.zone), b.of, b.ipv6, b.listed.bare if b.listed else "") for b in said)


def tasks(asking: Asking) -> Iterator[Task]:
    """One for each machine that sends and each domain."""
    lists = lists_of(asking)
    subjects = [(str(m.fqdn), [str(a) for a in m.addresses]) for m in asking.fleet.with_role(SENDS)]
    subjects += [(str(d.name), [d.name.bare]) for d in asking.fleet.domains]
    for subject, entries in subjects if lists else ():
        yield Task(KIND, subject, partial(_check, subject, entries, lists or (), asking))
    if lists is None and subjects:
        yield Task(KIND, subjects[0][0], _skipped)


def _skipped() -> Iterator[Verdict]:
    sentence = "skipped: a lab asks no public list; `dns.blocklists` can name some of its own"
    yield Verdict("blocklists", "all lists", State.OK, sentence, KIND)


def _check(
    subject: str, entries: Iterable[str], lists: Iterable[Blocklist], asking: Asking
) -> Iterator[Verdict]:
    for entry in entries:
        for each in lists:
            if each.takes(entry):
                yield _verdict(subject, each, entry, asking)


def _verdict(subject: str, blocklist: Blocklist, entry: str, asking: Asking) -> Verdict:
    must, must_not = (_reply(blocklist, test, asking) for test in blocklist.tests(entry))
    why = distrust(blocklist, must, must_not)
    if why:
        return unbelieved(subject, blocklist, entry, why)
    reply = _reply(blocklist, entry, asking)
    return judge(subject, blocklist, entry, reply, _says(blocklist, entry, asking) if reply else "")


def _reply(blocklist: Blocklist, entry: str, asking: Asking) -> Reply:
    try:
        return asking.resolved(blocklist.name(entry), "A")
    except AskError as error:
        return error


def _says(blocklist: Blocklist, entry: str, asking: Asking) -> str:
    """What the list itself says about an entry, mostly where to read more."""
    try:
        return " ".join(sorted(asking.resolved(blocklist.name(entry), "TXT")))
    except AskError:
        return ""
