"""`mailwright dns lint`: records that may be published, and that are a mistake in most cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from maildns.judging.lint import Finding
from mailwright.command.console import AsJson, columns, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.dnsplan import Plans
from mailwright.lint import lint_published, lint_wanted
from mailwright.model.site import Site


def lint(
    inventory: Inventory,
    *,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            "-o",
            help="Read the zones too: keys nobody signs with, others' records, lookups behind includes.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what may be published and had better not: what the RFCs allow and mail suffers from.

    A lint that is meant so is accepted by its name: `accept: [NAME]` at the domain, or under `dns`.

        mailwright dns lint inventory/prod.yaml --online

    Exit status: 0 nothing found, 1 something found or an error.
    """
    site = open_site(inventory)
    today = datetime.now(UTC).date()
    found = lint_published(site, today) if online else lint_wanted(site, today)
    if as_json:
        say(json.dumps([asdict(each) for each in found], indent=2))
    else:
        show_findings(found)
    if found:
        raise typer.Exit(1)


def show_notes(site: Site, plans: Plans) -> None:
    """What a plan says beneath: the lints of what it would publish."""
    found = lint_wanted(replace(site, includes=plans.includes), datetime.now(UTC).date())
    if found:
        say("lints (`mailwright dns lint --help`)", style="bold")
        show_findings(found)


def show_findings(found: Sequence[Finding]) -> None:
    """One line a finding."""
    rows = [(f"  {f.severity.value}", f.name, f.about.removesuffix("."), f.sentence) for f in found]
    if rows:
        columns(rows, ("yellow", "bold"))
    else:
        say("nothing found")
