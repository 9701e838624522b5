"""What the world sees of a site, against what it should see.

Each module beside this one finds the facts for one kind of verdict; what they mean is judged in maildns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from maildns.asking.dial import Dial, dial
from maildns.judging.check import Verdict
from maildns.names import within
from mailwright.dnscheck import blocklists, dane, delegation, dnssec, policies, records, sts
from mailwright.dnscheck.asking import Asking
from mailwright.dnscheck.task import KINDS, Task
from mailwright.includes import with_includes, without_addresses
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet
from mailwright.model.site import Site
from mailwright.zones import desired

__all__ = ["KINDS", "check_site"]

AT_ONCE = 32
"""Questions under way at a time: they wait more than they work."""


def check_site(
    site: Site, only: Iterable[str] = (), *, dial: Dial = dial, clock: Callable[[], float] = time.time
) -> Iterator[Verdict]:
    """Ask the authoritative servers of every zone, ours or published by hand, and judge.

    `only` holds kinds (see `KINDS`), domains, host names or machines' names: of several names or kinds
    each counts, and where there are names and kinds, both must fit. `dial` makes the connections to web
    and mail servers, `clock` says by which time (seconds since the epoch) signatures are judged.

    Raises:
        DnsError: the fleet wants what cannot be published, or `only` names what it has not.
        SecretError: a DKIM key is missing.
    """
    asking = Asking(site.fleet, dial, clock)
    tasks = _chosen(_tasks(site, asking), frozenset(only), site.fleet)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for verdicts in pool.map(lambda task: tuple(task.run()), tasks):
            yield from verdicts
    finally:
        pool.shutdown(cancel_futures=True)  # whoever stops listening waits for what is under way only


def _tasks(site: Site, asking: Asking) -> Iterator[Task]:
    unsaid: dict[str, str] = {}
    try:
        site = with_includes(site)
    except DnsError as error:  # somebody else's trouble must not hide ours
        site, domains = without_addresses(site)
        unsaid = dict.fromkeys(domains, str(error))
    wanted = desired(site)
    yield from delegation.tasks(wanted, asking)
    yield from dnssec.tasks(wanted, asking)
    yield from records.tasks(wanted, asking, unsaid)
    yield from sts.tasks(asking)
    yield from dane.tasks(wanted, asking)
    yield from policies.tasks(asking)
    yield from blocklists.tasks(asking)


def _chosen(tasks: Iterable[Task], only: frozenset[str], fleet: Fleet) -> list[Task]:
    kinds = only & KINDS.keys()
    names = [_name(text, fleet) for text in sorted(only - kinds)]
    chosen = [
        task
        for task in tasks
        if (not kinds or task.kind in kinds)
        and (not names or any(within(task.subject, name) for name in names))
    ]
    if only and not chosen:
        said = ", ".join(sorted(only))
        raise DnsError(f"--only {said}: nothing of that is checked; kinds are {', '.join(KINDS)}")
    return chosen


def _name(text: str, fleet: Fleet) -> str:
    """A machine by its name, else a name in the DNS."""
    for machine in fleet.machines:
        if machine.name == text:
            return str(machine.fqdn)
    return text.lower().removesuffix(".") + "."
