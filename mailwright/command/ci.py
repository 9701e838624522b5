"""`mailwright ci`: the jobs of a pipeline, as commands that also run by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mailwright.command.console import commands, note, problem, say
from mailwright.command.inventory import Inventory, load_roles, open_site
from mailwright.command.schema import fleet_schema
from mailwright.model.document import display
from mailwright.model.errors import MailwrightError
from mailwright.model.load import fleet_file
from mailwright.model.secrets_store import locate
from mailwright.model.site import Site
from mailwright.pipeline.changes import secrets_changed
from mailwright.pipeline.comment import Told, markdown, marker
from mailwright.pipeline.forge import forge
from mailwright.pipeline.job import SUMMARY, Job, annotate, job, summarise
from mailwright.pipeline.linting import lint_public, lint_secret
from mailwright.recovery import Finding

app = commands(
    "Jobs of a pipeline for a fleet's repository, on GitHub, GitLab or by hand (docs/pipelines.md)."
)

PLAN = "plan.json"
_TITLES = {
    "plan": {0: "Nothing to do", 2: "Changes"},
    "apply": {0: "Applied"},
    "verify": {0: "All is well", 1: "Not as it should be", 3: "Not everything is known"},
    "drift": {0: "No drift", 2: "Drift", 3: "Not everything is known"},
}
"""What an exit status means; of others: that it failed."""
_CHANGES = 2

Reports = Annotated[
    Path, typer.Option("--reports", metavar="DIR", help="Where to write what is kept as artifact.")
]


@app.command()
def lint(
    inventory: Inventory,
    *,
    without_secrets: Annotated[
        bool, typer.Option("--without-secrets", help="Only what needs none: for the changes of strangers.")
    ] = False,
) -> int:
    """Judge the repository alone: fleet file, schema, host keys; secrets, who can open them, and DNS lints.

        mailwright ci lint inventory/prod.yaml

    Exit status: 0 all is well, 1 something is not.
    """
    with _annotated():
        site, file = open_site(inventory), fleet_file(inventory)
    say(f"ok     fleet file: {display(file)}")
    found = list(lint_public(site, file, fleet_schema(load_roles(inventory))))
    if not without_secrets:
        found += lint_secret(site, locate(site.fleet, file), datetime.now(UTC).date())
    for one in found:
        say(f"FAULT  {one.what}: {one.missing}" if one.missing else f"ok     {one.what}", _style(one))
    return 1 if any(one.missing for one in found) else 0


@app.command()
def plan(inventory: Inventory, reports: Reports = Path("reports")) -> int:
    """Plan, and show the plan where the change is reviewed: as a comment that each run writes anew.

    It says besides who may open the secrets from now on, and which of them are others. The whole plan is in
    `plan.txt` and, for `ci apply`, in `plan.json`, without secrets. On GitHub the output `changes` is `true`
    or `false`.

        mailwright ci plan inventory/prod.yaml

    Exit status: 0 planned, with changes or without, 1 something cannot be planned.
    """
    _folder(reports)
    (reports / PLAN).unlink(missing_ok=True)  # not to be approved, whatever becomes of this one
    try:
        with _annotated(), _job(inventory, reports) as (site, here):
            status, text = here.run("plan", str(inventory), "--out", str(reports / PLAN))
            here.remask(PLAN)
            notes = _secrets(site, fleet_file(inventory))
    except MailwrightError as error:
        problem(str(error))
        status, text, notes = 1, str(error), ()
    _tell_plan(inventory, status, text, notes, reports)
    _output("changes", "true" if status == _CHANGES else "false")
    return 0 if status in _TITLES["plan"] else 1


@app.command()
def apply(
    inventory: Inventory,
    approved: Annotated[
        Path,
        typer.Option("--plan", metavar="FILE", help="What was approved: plan.json of `ci plan`."),
    ],
    reports: Reports = Path("reports"),
    *,
    rolling: Annotated[bool, typer.Option("--rolling", help="As for `mailwright apply`.")] = False,
) -> int:
    """Do what was approved, diff for diff, and refuse if more is to be done by now.

        mailwright ci apply inventory/prod.yaml --plan reports/plan.json

    Exit status: 0 done or nothing to do, 1 a machine or a zone failed, or the plan is outdated.
    """
    more = ["--rolling"] if rolling else []
    return _run(inventory, reports, "apply", "--plan", str(approved), *more)


@app.command()
def verify(inventory: Inventory, reports: Reports = Path("reports")) -> int:
    """Verify every machine. `verify.xml` (JUnit) is for the forge, `verify.html` for people.

        mailwright ci verify inventory/prod.yaml

    Exit status: 0 all is well, 1 something is not, 3 nobody can tell of something.
    """
    kinds = {"--junit": "verify.xml", "--html": "verify.html", "--json": "verify.json"}
    options = [word for option, name in kinds.items() for word in (option, str(reports / name))]
    return _run(inventory, reports, "verify", *options, keeps=kinds.values())


@app.command()
def drift(inventory: Inventory, reports: Reports = Path("reports")) -> int:
    """Look for what was changed on machines or in the DNS by others than `apply`.

        mailwright ci drift inventory/prod.yaml

    Exit status: 0 nothing changed, 1 an error, 2 drift, 3 nobody can tell of something.
    """
    return _run(inventory, reports, "drift")


def _run(inventory: Path, reports: Path, command: str, *options: str, keeps: Iterable[str] = ()) -> int:
    """Run a command of ours, and show what it said. `keeps`: what it writes among the reports."""
    with _annotated(), _job(inventory, reports) as (_, here):
        status, text = here.run(command, str(inventory), *options)
        for name in keeps:
            here.remask(name)
    summarise(markdown(Told(str(inventory), _title(command, status), text), SUMMARY), os.environ)
    return status


@contextmanager
def _job(inventory: Path, reports: Path) -> Iterator[tuple[Site, Job]]:
    site = open_site(inventory)
    _folder(reports)
    with job(site, reports) as here:
        yield site, here


def _folder(reports: Path) -> None:
    try:
        reports.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MailwrightError(f"{display(reports)}: cannot be made: {error.strerror}") from None


@contextmanager
def _annotated() -> Iterator[None]:
    try:
        yield
    except MailwrightError as error:
        annotate(error, os.environ)
        raise


def _secrets(site: Site, file: Path) -> tuple[str, ...]:
    here = forge(os.environ)
    return secrets_changed(locate(site.fleet, file), here.base) if here and here.base else ()


def _tell_plan(inventory: Path, status: int, text: str, notes: tuple[str, ...], reports: Path) -> None:
    """Show a plan on the change that it is of, and on the page of the run.

    Raises:
        MailwrightError: the comment cannot be written, though it should be.
    """
    here = forge(os.environ)
    data: dict[str, Any] | None = None
    if (reports / PLAN).exists():
        data = json.loads((reports / PLAN).read_text(encoding="utf-8"))
    at = (here.commit, here.job) if here else ("", "")
    told = Told(str(inventory), _title("plan", status), text, data, notes, *at)
    for line in notes:
        say(line)
    summarise(markdown(told, SUMMARY), os.environ)
    if here and here.silence:
        note(f"no comment: {here.silence}")
    elif here:
        note(f"comment: {here.comment(marker(told.fleet), markdown(told, here.limit))}")


def _title(command: str, status: int) -> str:
    return _TITLES[command].get(status, f"{command.capitalize()} failed")


def _output(name: str, value: str) -> None:
    """An output of a step (GitHub); on other systems nobody asks for it."""
    if path := os.environ.get("GITHUB_OUTPUT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name}={value}\n")


def _style(one: Finding) -> str | None:
    return "red" if one.missing else None
