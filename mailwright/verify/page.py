"""A verification as one HTML page that needs nothing else: for a ticket, an archive, a colleague.

The page is data of the report and of the fleet file, of which neither holds secrets. What hosts said may be
hostile: all of it is escaped, what a browser would not show is spelled out, and a Content Security Policy
(https://www.w3.org/TR/CSP3/) lets only the page's own style and script in, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Fleet
from mailwright.verify.drawing import WIDTH, draw
from mailwright.verify.report import (
    WORDS,
    WORST_FIRST,
    CheckReport,
    MachineReport,
    Outcome,
    Report,
    counts,
    worst,
)
from mailwright.visible import visible

_TEMPLATES = Path(__file__).parents[2] / "templates"
"""Those that came with this package: a repository with roles of its own need not have them."""
_POLICY = ("default-src 'none'", "base-uri 'none'", "form-action 'none'")

_BAD: tuple[Outcome, ...] = ("fail", "unknown")
_OPEN = 12
"""Up to so many problems are unfolded from the beginning; of more, the first lines are enough to choose."""
_NAMED = 3
"""Machines that the verdict names."""


@dataclass(frozen=True)
class Group:
    """What one role declared on one machine, and what is well with it."""

    role: str
    checks: tuple[CheckReport, ...]


@dataclass(frozen=True)
class Section:
    """One machine's checks, or those that concern several."""

    name: str
    anchor: str
    machine: MachineReport | None
    verdict: Outcome
    checks: tuple[CheckReport, ...]

    @property
    def problems(self) -> tuple[CheckReport, ...]:
        """Failures, then what nobody could judge."""
        return tuple(check for outcome in _BAD for check in self.checks if check.outcome == outcome)

    @property
    def groups(self) -> tuple[Group, ...]:
        """All others by role, in the order of the roles."""
        rest = [check for check in self.checks if check.outcome not in _BAD]
        roles = dict.fromkeys(check.role for check in rest)
        return tuple(Group(role, tuple(c for c in rest if c.role == role)) for role in roles)


def render(report: Report, fleet: Fleet) -> str:
    """The page. The same report and fleet give the same page, to the byte.

    Raises:
        MailwrightError: a template is missing or wrong.
    """
    try:
        return _render(report, fleet)
    except TemplateError as error:
        raise MailwrightError(f"templates/verify: {type(error).__name__}: {error}") from error


def _render(report: Report, fleet: Fleet) -> str:
    environment = _environment()
    style, script = (_asset(environment, name) for name in ("page.css", "page.js"))
    sections = _sections(report)
    return environment.get_template("verify/page.html.j2").render(
        report=report,
        began=report.began.astimezone(UTC),
        verdict=verdict(report),
        sections=sections,
        unfold=sum(len(section.problems) for section in sections) <= _OPEN,
        roles=sorted({check.role for check in report.checks}),
        drawing=draw(report, fleet),
        width=WIDTH,
        words={outcome: WORDS[outcome] for outcome in WORST_FIRST},
        style=style,
        script=script,
        policy="; ".join((*_POLICY, f"style-src {_source(style)}", f"script-src {_source(script)}")),
    )


def verdict(report: Report) -> str:
    """What came out, in one sentence that claims no more than was seen."""
    names = {o: [m.name for m in report.machines if m.verdict == o] for o in _BAD}
    apart = {
        o: tuple(dict.fromkeys(m for c in report.together if c.outcome == o for m in c.machines))
        for o in _BAD
    }
    number = counts(report.checks)
    said = []
    if names["fail"]:
        are = "is" if len(names["fail"]) == 1 else "are"
        said.append(f"{_listed(names['fail'])} {are} not what the fleet file says")
    if apart["fail"]:
        said.append(f"{_listed(apart['fail'])} do not agree with each other")
    if any(check.outcome == "fail" and not check.machines for check in report.together):
        said.append(f"{'n' if said else 'N'}ot all tests of this repository pass")
    if said:
        said[-1] += f" ({number['fail']} of {len(report.checks)} checks failed)"
    dark = names["unknown"] or (() if said else apart["unknown"])
    if not said and not dark and "unknown" in number:
        dark = ("a test of this repository",)
    if dark:
        hope = "" if said else "Nothing is known to be wrong, but "
        seen = any(m.name in dark and "pass" in counts(m.checks) for m in report.machines)
        said.append(f"{hope}{_listed(dark)} could not be judged{' in full' * seen}")
    return f"{'; '.join(said) or _well(report, number.get('pass', 0))}."


def _well(report: Report, passed: int) -> str:
    if not passed:
        return "Nothing was checked"
    names = [machine.name for machine in report.machines]
    where = f"{len(names)} machines" if len(names) > _NAMED else _listed(names)
    every = len(report.checks)
    return (
        f"All {every} checks on {where} passed"
        if passed == every
        else (f"{passed} of {every} checks on {where} passed, and none failed")
    )


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        shown.append(f"{len(names) - _NAMED} more")
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _sections(report: Report) -> tuple[Section, ...]:
    """Those with problems first; otherwise in the order of the fleet file."""
    sections = [Section(m.name, f"machine-{m.name}", m, m.verdict, m.checks) for m in report.machines]
    if report.together:
        together = worst(report.together)
        sections.append(Section("all together", "together", None, together, report.together))
    return tuple(sorted(sections, key=lambda section: WORST_FIRST.index(section.verdict)))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tally"] = _tally
    return environment


def _tally(checks: Sequence[CheckReport]) -> str:
    """`2 failed, 180 ok`."""
    return ", ".join(f"{number} {WORDS[outcome]}" for outcome, number in counts(checks).items())


def _visible(value: Any) -> Any:  # noqa: ANN401 - whatever the template puts out
    """Text as a reader must see it; what is markup already is ours."""
    return value if not isinstance(value, str) or isinstance(value, Markup) else visible(value)


def _asset(environment: Environment, name: str) -> Markup:
    return Markup(environment.get_template(f"verify/{name}").render())  # noqa: S704 - our own file


def _source(text: str) -> str:
    """A text as a source of a policy (CSP3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
