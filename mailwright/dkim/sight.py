"""What the world sees of DKIM keys: every authoritative server of a domain, asked about one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from maildns.asking.authority import AskError, Server
from maildns.asking.proof import ZoneProof
from maildns.errors import RecordError
from maildns.policy.dkim import DkimKey, selector_name
from maildns.rotation import Key, Sight, State
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError
from mailwright.model.site import Site
from mailwright.world import World
from mailwright.zones.dkim import shown_key

AT_ONCE = 8
"""Questions under way at a time."""

UNUSED = "nobody-signs-with-this"
"""A selector that no key ever has: what is found there is a wildcard's."""

NAMED = 5
"""How many keys a refusal names."""


def see(site: Site, world: World, domain: Domain, key: Key, clock: Callable[[], int]) -> Sight:
    """Ask every authoritative server of a domain whether it shows a key as the key's state wants.

    In a signed zone an answer counts once a validating resolver would accept it.
    """
    name = selector_name(str(domain.name), key.selector)
    wanted = None if key.state is State.DELETED else shown_key(domain, key, site.secrets)
    try:
        zone = world.zone_of(str(domain.name))
        servers = world.servers(zone)
        silent = [f"{each} has no address" for each in world.without_address(zone)]
    except AskError as error:
        return Sight(clock(), silent=(str(error),))
    shows = partial(_shows, question=Question(domain, name, wanted, ZoneProof(zone, world.anchored(zone))))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(shows, servers))
    silent += [silence for _, silence in found if silence] + ([] if servers else ["no server to ask"])
    lacking = tuple(fault for fault, _ in found if fault)
    # The time after the answers: since then, at the latest, it is so.
    return Sight(clock(), lacking, tuple(silent), sum(each == _SHOWN for each in found))


def refuse_unseen(site: Site) -> None:
    """Refuse to have hosts sign with a key that any authoritative server does not show.

    Of a key that hosts have been seen to sign with before, a server that does not answer says nothing:
    else one that is down anywhere would stop all deploys.

    Raises:
        DnsError: naming the keys, and the servers that lack them or do not answer.
        SecretError: a private half is missing.
    """
    world = World(site.fleet)
    unseen = list(_unseen(site, world))
    if unseen:
        more = f" (and {len(unseen) - NAMED} more)" if len(unseen) > NAMED else ""
        listed = ", ".join(unseen[:NAMED])
        raise DnsError(f"hosts would sign with keys that the world cannot see: {listed}{more}")


def _unseen(site: Site, world: World) -> Iterator[str]:
    for domain in site.fleet.domains:
        selectors = {key.selector for key in domain.dkim}
        known = {key.selector for key in site.keyring.ring(domain.name).keys if key.state is State.SIGNING}
        for key in site.keyring.shown(domain):
            if key.selector in selectors:
                sight = see(site, world, domain, key, lambda: 0)
                silence_is_fine = key.selector in known and sight.showing > 0
                if sight.lacking or (sight.silent and not silence_is_fine):
                    why = "; ".join((*sight.lacking, *sight.silent))
                    yield f"{key.selector} of {domain.name.bare}: {why}"


@dataclass(frozen=True)
class Question:
    """What servers are asked about a key."""

    domain: Domain
    name: str
    wanted: DkimKey | None
    """`None`: that there is no key."""
    proof: ZoneProof


_SHOWN = ("", "")


def _shows(server: Server, *, question: Question) -> tuple[str, str]:
    """What is wrong with a server's answer about a key, or why there is none; two empty ones: nothing."""
    try:
        values = server.ask(question.name, "TXT")
        fault = _fault(server, values, question)
    except AskError as error:
        return "", str(error)
    return (f"{server} {fault}", "") if fault else (question.proof(server, (question.name, "TXT")) or "", "")


def _fault(server: Server, values: frozenset[str], question: Question) -> str:
    found = [key for key in map(_parsed, values) if key]
    if question.wanted is None:
        unused = selector_name(str(question.domain.name), UNUSED)
        return "still has it" if found and values != server.ask(unused, "TXT") else ""
    if found == [question.wanted]:
        # RFC 6376 section 3.6.2.2: what a verifier makes of several is undefined.
        return "shows something else beside it" if len(values) > 1 else ""
    return "shows another key" if found else "has no key there"


def _parsed(text: str) -> DkimKey | None:
    try:
        return DkimKey.parse(text)
    except RecordError:
        return None
