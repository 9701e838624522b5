"""Exchanging secrets for newly drawn ones: which can be, in what order, and who must hear of it.

New values are written to the secrets file before any machine has them, so a run that is killed leaves a plan
that shows what is to be applied: nothing is ever known to a machine alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mailwright.model.backups import KEEPER_PASSWORD, SftpStore, secret
from mailwright.model.errors import SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.secrets import GivenSecrets
from mailwright.model.secrets_store import Required
from mailwright.model.site import Site
from mailwright.repositories import KEEPER_SSH

BY_OTHERS = {
    "dkim": "`mailwright dkim rotate {inventory}` exchanges DKIM keys, once the world can see the new ones",
    "certificate": "`mailwright certificates roll {inventory}` exchanges keys that the DNS announces, and "
    "`mailwright secrets set` what you bring yourself",
}
"""What another command exchanges, by the first part of a secret's name."""
_KEEPERS = "backup-keeper"


@dataclass(frozen=True)
class Rotation:
    """What will be drawn anew, and what will not."""

    stages: tuple[tuple[Required, ...], ...]
    """One after the other, each applied before the next is drawn."""
    refused: Mapping[str, str]
    """Names that were meant, and what to do about each instead."""


def kind(name: str) -> str:
    """What sort of a secret a name is: its first part."""
    return name.partition("/")[0]


def elsewhere(fleet: Fleet) -> frozenset[str]:
    """Keys whose public halves somebody else lets in: with others drawn here, nobody would get in."""
    if not isinstance(fleet.backup.store, SftpStore):
        return frozenset()
    return frozenset({KEEPER_SSH, *(secret(machine.name, "ssh") for machine in fleet.machines)})


def rotation(
    wanted: Sequence[Required],
    names: Sequence[str],
    kinds: Sequence[str],
    inventory: str = "INVENTORY",
    *,
    others: Collection[str] = (),
) -> Rotation:
    """What is meant by names and kinds among all the secrets of a fleet.

    `others` are the names of `elsewhere`.

    Raises:
        SecretError: a name or a kind means nothing.
    """
    table = {one.name: one for one in wanted}
    known = sorted(set(map(kind, table)))
    for name in names:
        if name not in table:
            raise SecretError(
                f"{name}: the fleet names no such secret: `mailwright secrets list {inventory}`"
            )
    for one in kinds:
        if one not in known:
            raise SecretError(f"--all-of {one}: no secret of that kind; there are {', '.join(known)}")
    meant = [one for one in wanted if one.name in names or kind(one.name) in kinds]
    refused = {one.name: why for one in meant if (why := _instead(one, inventory, others))}
    drawn = [one for one in meant if one.name not in refused]
    # A repository is opened with one of two keys. Were both drawn anew at once, the keeper would have none
    # that opens it, so that it could not be given the new ones.
    last = [one for one in drawn if one.name == KEEPER_PASSWORD]
    first = [one for one in drawn if one.name != KEEPER_PASSWORD]
    return Rotation(tuple(tuple(stage) for stage in (first, last) if stage), refused)


def _instead(one: Required, inventory: str, others: Collection[str]) -> str:
    if kind(one.name) in BY_OTHERS:
        return BY_OTHERS[kind(one.name)].format(inventory=inventory)
    advice = f"`mailwright secrets set {inventory} {one.name}`"
    if one.name in others:
        return f"who runs the store lets it in: have a new one let in there, then {advice}"
    if one.make is None:
        return f"comes from somebody else: get a new one there, then {advice}"
    return ""


def affected(site: Site, before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """The machines that another value of a secret changes something on: the keeper of backups last.

    The keeper lets new keys in and shuts the old ones out: a machine that still has its old key then takes
    itself for one that was replaced, and stops its mail. One that has its new key early makes no backup
    meanwhile.
    """
    changed = {name for name in after if before.get(name) != after[name]}
    found = []
    for machine in site.fleet.machines:
        plans = (replace(site, secrets=GivenSecrets(values)) for values in (before, after))
        try:
            old, new = (each.plan(machine).merged for each in plans)
            concerned = old != new
        except SecretError:  # something else is missing: what the machine says that it reads must do
            concerned = not changed.isdisjoint(site.secrets_of(machine))
        if concerned:
            found.append(machine.name)
    keeper = site.fleet.backup.kept_by
    return tuple(sorted(found, key=lambda name: name == keeper))


def turns(site: Site, machines: Sequence[str], drawn: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Machines in the groups in which they are deployed: the keeper last, where backups' keys change."""
    keeper = site.fleet.backup.kept_by
    concerned = any(kind(name) in ("backup", _KEEPERS) for name in drawn)
    if keeper is None or keeper not in machines or not concerned:
        return (tuple(machines),) if machines else ()
    rest = tuple(name for name in machines if name != keeper)
    return (rest, (keeper,)) if rest else ((keeper,),)


def by_hand(names: Sequence[str], inventory: str) -> Iterator[str]:
    """What nobody but the operator can do about new values."""
    for name in names:
        sort, _, whose = name.partition("/")
        if sort == "submission":
            new = f"the new one is in `mailwright secrets edit {inventory}`"
            yield f"{whose}: its old password is refused as soon as the machines are deployed; {new}"
        elif sort == "acme":
            machine = whose.partition("/")[0]
            yield (
                f"{machine}: the name server needs its new key before the next renewal: "
                f"`mailwright certificates acl {inventory} --limit {machine}`"
            )
