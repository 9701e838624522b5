"""`mailwright dkim status | rotate | retire`: exchange signing keys without a signature ever failing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from maildns.judging.check import State as Verdict
from mailwright.command.alone import alone
from mailwright.command.console import AsJson, columns, commands, note, problem, say
from mailwright.command.dkim_hosts import Hosts
from mailwright.command.dkim_report import Report, report
from mailwright.command.inventory import Inventory, open_site, repository
from mailwright.command.plan import shim_of
from mailwright.dkim.outlook import Next, outlook
from mailwright.dkim.rotation import Rotation
from mailwright.dkim.world import RealEffects
from mailwright.model.domains import Domain
from mailwright.model.errors import DnsError, MailwrightError
from mailwright.model.keyring import keyring_file, stamp
from mailwright.model.load import fleet_file
from mailwright.model.names import DnsName
from mailwright.model.secrets_store import locate
from mailwright.model.site import Site
from mailwright.publish import as_dns_error

app = commands("Exchange DKIM keys: no message is signed with a key that the world cannot see.")

RETRY = 30
"""Seconds after which `--wait` looks again at what other things than time stand in the way of."""

UNKNOWN = 3
"""Exit status where nothing is wrong, but not everything is known."""

clock = time.time
pause = time.sleep

Domains = Annotated[
    list[str] | None, typer.Option("--domain", metavar="DOMAIN", help="This domain only; repeatable.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the old key is revoked.")]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="HOST",
        help="A host that is lost: do not wait until it signs with the new key; repeatable.",
    ),
]


@app.command()
def status(
    inventory: Inventory,
    *,
    hosts: Annotated[bool, typer.Option("--hosts/--no-hosts", help="Ask the hosts, too.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show each key: its state, what is next, whether every server shows it and every host signs with it.

    Exit status: 0 all is well, 1 a server or a host is not as it should be, 3 one does not answer.
    """
    site = open_site(inventory)
    reports = report(site, _effects(site, inventory), _now(), hosts=hosts)
    if as_json:
        say(json.dumps([each.data() for each in reports], indent=2))
    else:
        _show(reports)
    states = {each.verdict for each in reports}
    if Verdict.FAULT in states:
        raise typer.Exit(1)
    raise typer.Exit(UNKNOWN if Verdict.UNKNOWN in states else 0)


@app.command()
def rotate(
    inventory: Inventory,
    *,
    domain: Domains = None,
    everything: Annotated[bool, typer.Option("--all", help="Every domain.")] = False,
    due: Annotated[
        bool, typer.Option("--due", help="Only what is due: for a timer. Begins with keys past dkim.max_age.")
    ] = False,
    algorithm: Annotated[
        Literal["rsa", "ed25519"] | None, typer.Option(help="Keys of this algorithm only.")
    ] = None,
    wait: Wait = False,
    without: Without = None,
) -> None:
    """Exchange signing keys: begin, or go on, with every step that can be taken now.

    A new key is made, published, and seen at every authoritative server for longer than resolvers may
    remember that it was not there. Then all hosts switch. The old key stays published for as long as mail
    may wait in a queue; then it is revoked, and later deleted. Killed at any point, the same command goes on.

        mailwright dkim rotate inventory/prod.yaml --due

    Exit status: 0 done, or nothing to do before a time that is printed; 1 something stands in the way.
    """
    if not (due or everything or domain) or (everything and (due or domain)):
        raise MailwrightError("say which keys: --domain DOMAIN, --all, or --due for whatever is due")
    if due and algorithm:
        raise MailwrightError("--due looks at all algorithms")

    def begin(rotation: Rotation) -> None:
        rotation.adopt()
        if due:
            rotation.begin_due()
        else:
            rotation.request(algorithm)

    _run(inventory, domain, begin, wait=wait, without=without or (), briefly=due)


@app.command()
def retire(
    inventory: Inventory,
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain that it signs for.")],
    selector: Annotated[str, typer.Argument(metavar="SELECTOR", help="As `dkim status` shows it.")],
    *,
    now: Annotated[
        bool, typer.Option("--now", help="It is in wrong hands: do not hold it for mail on its way.")
    ] = False,
    wait: Wait = False,
    without: Without = None,
) -> None:
    """Get rid of one key; with --now at once, because it is in wrong hands.

    A key that signs is exchanged first: for a standby key at once, else for a new one as soon as nobody can
    remember that it was not there. With --now the old key is revoked in the moment in which no host
    signs with it any more; mail still on its way then fails verification.

        mailwright dkim retire inventory/prod.yaml brightpost.example r2026 --now --wait

    Exit status: 0 done, or nothing to do before a time that is printed; 1 something stands in the way.
    """

    def begin(rotation: Rotation) -> None:
        rotation.adopt()
        rotation.retire(rotation.domains[0], selector, urgent=now)

    _run(inventory, [domain], begin, wait=wait, without=without or ())


def _run(
    inventory: Path,
    names: list[str] | None,
    begin: Callable[[Rotation], None],
    *,
    wait: bool,
    without: Sequence[str],
    briefly: bool = False,
) -> None:
    """Begin, take all steps that can be taken, and with `wait` come back for the others.

    `briefly`: where nothing was done, one line says so.
    """
    first, idle = True, briefly
    while True:
        with alone(fleet_file(inventory)):
            rotation = _rotation(inventory, names, without)
            before = rotation.keyring
            with as_dns_error():
                if first:
                    begin(rotation)
                rotation.advance()
        first, idle = False, idle and rotation.keyring == before and not rotation.held
        following = list(_following(rotation))
        wake = _wake(rotation, following)
        if not wait or wake is None:
            break
        _tell_held(rotation)
        note(f"waiting until {stamp(wake)}")
        pause(max(0.0, wake - clock()))
    _tell_held(rotation)
    _tell_next(following, idle=idle)
    raise typer.Exit(1 if rotation.held else 0)


def _rotation(inventory: Path, names: list[str] | None, without: Sequence[str]) -> Rotation:
    site = open_site(inventory)
    unknown = set(without) - {machine.name for machine in site.fleet.machines}
    if unknown:
        raise MailwrightError(f"--without: the fleet has no machine {', '.join(sorted(unknown))}")
    newest = site.keyring.newest
    if _now() < newest:
        raise MailwrightError(
            f"the clock says {stamp(_now())}, but {keyring_file(fleet_file(inventory))} was written at"
            f" {stamp(newest)}: set the clock right, or the times in that file"
        )
    return Rotation(
        site.fleet,
        _domains(site, names),
        site.keyring,
        _effects(site, inventory),
        _now,
        say,
        frozenset(without),
    )


def _effects(site: Site, inventory: Path) -> RealEffects:
    file = fleet_file(inventory)
    hosts = Hosts(repository(inventory), shim_of(inventory), note)
    return RealEffects(site, keyring_file(file), locate(site.fleet, file), hosts, _now, note)


def _now() -> int:
    return int(clock())


def _domains(site: Site, names: list[str] | None) -> tuple[Domain, ...]:
    table = {domain.name: domain for domain in site.fleet.domains}
    if not names:
        return tuple(table.values())
    try:
        wanted = [DnsName.parse(name) for name in names]
        return tuple(table[name] for name in dict.fromkeys(wanted))
    except ValueError as error:
        raise MailwrightError(str(error)) from None
    except KeyError as error:
        raise MailwrightError(f"the fleet has no domain {str(error.args[0]).removesuffix('.')}") from None


def _following(rotation: Rotation) -> Iterator[tuple[Domain, str, Next]]:
    """What comes next, key by key, for all that something comes of."""
    for domain in rotation.domains:
        ring = rotation.keyring.ring(domain.name)
        try:
            timing = rotation.effects.timing(domain)
        except DnsError:
            continue  # which is among what is held
        steps = ((key.selector, outlook(ring, key, timing)) for key in ring.keys)
        yield from ((domain, selector, step) for selector, step in steps if step.what)


def _wake(rotation: Rotation, following: Sequence[tuple[Domain, str, Next]]) -> int | None:
    """When there is something to do again; `None` when nothing is under way any more."""
    steps = [step for _, _, step in following if step.under_way]
    if not steps:
        return None
    times = [step.at for step in steps if step.at is not None]
    soon = _now() + RETRY
    return min([*times, soon]) if rotation.held or not times else max(min(times), _now() + 1)


def _tell_held(rotation: Rotation) -> None:
    for sentence in rotation.held:
        problem(sentence)


def _tell_next(following: Sequence[tuple[Domain, str, Next]], *, idle: bool) -> None:
    times = [step.at for _, _, step in following if step.at is not None]
    if idle and times:
        say(f"nothing to do before {stamp(min(times))}")
        return
    rows = [(domain.name.bare, selector, str(step)) for domain, selector, step in following]
    if rows:
        columns(rows, styles=("bold", "", ""))


def _show(reports: Sequence[Report]) -> None:
    for each in reports:
        say(each.line, {Verdict.FAULT: "red", Verdict.UNKNOWN: "yellow"}.get(each.verdict))
        for line in each.details:
            say(f"    {line}", "dim")
