"""`mailwright dns plan | apply | check`: what the world must see of the fleet, and making it so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from maildns.planfile import Choices, as_data, read_choices, to_json
from maildns.records import RrKey, canonical_name
from mailwright.command import dns_check, dns_export
from mailwright.command.console import note, say
from mailwright.command.dnsview import show_plans
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.errors import DnsError
from mailwright.publish import DEADLINE, Plans, apply_plans, as_dns_error, plan_site

app = typer.Typer(no_args_is_help=True, help="Plan, publish and check the fleet's DNS.")
app.command(name="check")(dns_check.check)
app.command(name="export")(dns_export.export)

CHANGES = 2
"""Exit status of a plan that would change something."""

Only = Annotated[list[str] | None, typer.Option("--only", metavar="ZONE", help="This zone only; repeatable.")]
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
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


@app.command()
def plan(
    inventory: Inventory,
    *,
    only: Only = None,
    adopt: Adopt = None,
    allow: Allow = None,
    out: Annotated[Path | None, typer.Option("--out", help="Save the plan, to apply exactly this.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what publishing would change. Exit status: 0 nothing, 2 changes, 1 a conflict or an error."""
    choices = _choices(only, adopt, allow)
    plans = plan_site(open_site(inventory), choices)
    if out:
        out.write_text(to_json(plans.zones, choices))
    _show(plans, as_json=as_json)
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
        Path | None, typer.Option("--plan", help="Apply this saved plan, if it is still what is to do.")
    ] = None,
    deadline: Annotated[
        float, typer.Option(min=0, help="Seconds for every authoritative server to serve it.")
    ] = DEADLINE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Show the plan, ask, publish, and see that every authoritative server has it. Exit status: 0 or 1.

    A saved plan (--plan) has been read before, and is not asked about.
    """
    if plan_file and (only or adopt or allow):
        raise DnsError("--plan holds its own --only, --adopt and --allow")
    site = open_site(inventory)
    choices = _choices(only, adopt, allow)
    expected = None
    if plan_file:
        expected, choices = _read(plan_file)
    plans = plan_site(site, choices)
    if expected and plans.digest != expected:
        raise DnsError(f"{plan_file}: the world or the fleet has changed since; plan again")
    _show(plans, as_json=False)
    if plans.changed and not (plans.blocked or plan_file or yes):
        typer.confirm("Do this?", abort=True, err=True)
    if plans.blocked or plans.changed:
        apply_plans(site, plans, deadline, note)


def _choices(only: list[str] | None, adopt: list[str] | None, allow: list[str] | None) -> Choices:
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
    with as_dns_error():
        return read_choices(text)


def _show(plans: Plans, *, as_json: bool) -> None:
    if not as_json:
        show_plans(plans)
        return
    by_hand = [
        {"name": r.name, "type": r.type, "ttl": r.ttl, "values": [v for v, _ in r.explained()]}
        for r in plans.by_hand
    ]
    content = {"digest": plans.digest, "zones": [as_data(p) for p in plans.zones], "by_hand": by_hand}
    say(json.dumps(content, indent=2))
