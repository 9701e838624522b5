"""`mailwright dns`: what the world must see of the fleet, and making it so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from maildns.errors import MaildnsError
from maildns.planning.planfile import Choices, read_choices, to_json
from maildns.records import RrKey, canonical_name
from mailwright.command import dns_check, dns_export, dns_import, dns_lint
from mailwright.command.console import AsJson, commands, note, say
from mailwright.command.dnsjson import outcome_data, plans_data
from mailwright.command.dnsview import show_plans
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.errors import DnsError
from mailwright.model.site import Site
from mailwright.publish import DEADLINE, ApplyError, Outcome, Plans, apply_plans, as_dns_error, plan_site

app = commands("Plan, publish, check, export and import the fleet's DNS.")

CHANGES = 2
"""Exit status of a plan that would change something."""

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="NAME", help="This zone, or this domain within its parent's zone, only; repeatable."
    ),
]
Adopt = Annotated[
    list[str] | None,
    typer.Option("--adopt", metavar="NAME/TYPE", help="Take over a set that somebody else made; repeatable."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", metavar="WHAT=NAME", help="Overrule a refusal, as its line spells it; repeatable."
    ),
]


@app.command()
def plan(
    inventory: Inventory,
    *,
    only: Only = None,
    adopt: Adopt = None,
    allow: Allow = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Save the plan, to apply exactly this.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what publishing would change, record by record with its reason, and change nothing.

    A zone that cannot be read is told beside the plans of the others, and is an error.

        mailwright dns plan inventory/prod.yaml --only brightpost.example

    Exit status: 0 nothing to do, 1 a conflict, a refusal or an error, 2 there are changes.
    """
    choices = _choices(only, adopt, allow)
    site = open_site(inventory)
    plans = plan_site(site, choices, say=note)
    if as_json:
        say(json.dumps(plans_data(plans), indent=2))
    else:
        show_plans(plans)
        dns_lint.show_notes(site, plans)
    if out:
        _save(out, plans, choices)
    if plans.blocked:
        raise typer.Exit(1)
    raise typer.Exit(CHANGES if plans.changed else 0)


@app.command()
def apply(
    inventory: Inventory,
    *,
    only: Only = None,
    adopt: Adopt = None,
    allow: Allow = None,
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Apply this saved plan, if it is still what is to do."),
    ] = None,
    deadline: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="For every authoritative server to serve it.")
    ] = DEADLINE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the plan, ask, publish, and see that every authoritative server has it.

    A saved plan (--plan) has been read before, and is not asked about. Run again after a failure: what is
    left is planned and done.

        mailwright dns apply inventory/prod.yaml --yes

    Exit status: 0 done or nothing to do, 1 an error; a conflict or a refusal in one zone stops all.
    """
    if plan_file and (only or adopt or allow):
        raise DnsError("--plan holds its own --only, --adopt and --allow")
    site = open_site(inventory)
    choices = _choices(only, adopt, allow)
    expected = None
    if plan_file:
        expected, choices = _read(plan_file)
    plans = plan_site(site, choices, say=note)
    if expected and plans.digest != expected:
        raise DnsError(f"{plan_file}: the world or the fleet has changed since; plan again")
    if not as_json:
        show_plans(plans)
    if plans.changed and not (plans.blocked or plan_file or yes):
        typer.confirm("Do this?", abort=True, err=True)
    outcome, failure = _apply(site, plans, deadline)
    if as_json:
        say(json.dumps(outcome_data(plans, outcome, str(failure) if failure else None), indent=2))
    elif outcome.published and not failure:
        zones = f"{len(outcome.published)} zones are" if len(outcome.published) > 1 else "1 zone is"
        say(f"done: {zones} published and served by all servers ({len(outcome.servers)})", "bold")
    if failure:
        raise failure


app.command(name="lint")(dns_lint.lint)
app.command(name="check")(dns_check.check)
app.command(name="export")(dns_export.export)
app.command(name="import")(dns_import.import_)


def _apply(site: Site, plans: Plans, deadline: float) -> tuple[Outcome, DnsError | None]:
    if not (plans.blocked or plans.changed):
        return Outcome(), None
    try:
        return apply_plans(site, plans, deadline, note), None
    except ApplyError as error:
        return error.outcome, error


def _choices(only: list[str] | None, adopt: list[str] | None, allow: list[str] | None) -> Choices:
    for one in allow or ():
        if "=" not in one:
            raise DnsError(f"--allow takes WHAT=NAME, as the line of a refusal spells it, not {one}")
    with as_dns_error():
        return Choices(
            tuple(map(_name, only or ())), tuple(map(_rr_key, adopt or ())), tuple(sorted(allow or ()))
        )


def _rr_key(text: str) -> RrKey:
    name, slash, type_ = text.rpartition("/")
    if not slash:
        raise DnsError(f"--adopt takes NAME/TYPE, for instance mail.example.org/A, not {text}")
    return _name(name), type_.upper()


def _name(text: str) -> str:
    return canonical_name(text if text.endswith(".") else text + ".")


def _read(file: Path) -> tuple[str, Choices]:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DnsError(
            f"{file}: {error.strerror if isinstance(error, OSError) else 'not a plan file'}"
        ) from None
    try:
        return read_choices(text)
    except MaildnsError as error:
        raise DnsError(f"{file}: {error}") from None


def _save(file: Path, plans: Plans, choices: Choices) -> None:
    if plans.unread:
        raise DnsError(f"{file} is not written: a plan is saved when every zone can be read")
    try:
        file.write_text(to_json(plans.zones, choices))
    except OSError as error:
        raise DnsError(f"{file}: {error.strerror}") from None
