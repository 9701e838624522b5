"""The text behind a finding: what a file was to be and what is in it, without secrets."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from mailwright.drift.declared import Declared
from mailwright.drift.finding import Finding
from mailwright.drift.paths import Lies
from mailwright.drift.survey import Survey
from mailwright.redact import Redactor

_OTHERS = 0o004
_LONGEST = 200
"""Lines of one diff."""


def shown(findings: Iterable[Finding], now: Survey, declared: Declared) -> tuple[str, ...]:
    """The files whose text may be seen and says more than the finding."""
    paths = (f.subject for f in findings if f.kind.endswith((" edited", " added", " type changed")))
    return tuple(
        dict.fromkeys(path for path in paths if path.startswith("/") and _may_show(path, now, declared))
    )


def _may_show(path: str, now: Survey, declared: Declared) -> bool:
    """As in a plan: no secret file, and none that the machine keeps from more people than is declared."""
    lies, need = Lies.read(now.of("path").get(path, "")), declared.files.get(path)
    if lies.kind != "f" or (need and need.secret):
        return False
    mode = int(lies.mode, 8)
    return bool(mode & _OTHERS) or (need is not None and mode == need.mode)


def with_texts(
    findings: Iterable[Finding],
    texts: Mapping[str, str],
    before: Survey,
    declared: Declared,
    redact: Redactor,
) -> tuple[Finding, ...]:
    """The findings with their diffs; whatever a machine said is without secrets from here on."""
    done: set[str] = set()
    told = []
    for finding in findings:
        lines: tuple[str, ...] = finding.text
        if finding.subject in texts and finding.subject not in done and " mode" not in finding.kind:
            done.add(finding.subject)
            lines = _diff(finding.subject, texts[finding.subject], before, declared)
        before_, after = redact(finding.before), redact(finding.after)
        clean = tuple(map(redact, lines))
        told.append(
            replace(finding, subject=redact(finding.subject), before=before_, after=after, text=clean)
        )
    return tuple(told)


def _diff(path: str, text: str, before: Survey, declared: Declared) -> tuple[str, ...]:
    need, old = declared.files.get(path), before.of("content").get(path)
    if need is None and old is not None:
        return ()  # an edited file that nobody declares: only its digest was kept
    wanted, origin = need.content if need else b"", "as applied" if need else "nothing"
    if need and old != hashlib.sha256(wanted).hexdigest():
        origin = "as the fleet file says now"
    try:
        expected = wanted.decode().splitlines()
    except UnicodeDecodeError:
        return ()
    lines = list(
        difflib.unified_diff(
            expected, text.splitlines(), f"{path} ({origin})", f"{path} (on the machine)", lineterm=""
        )
    )
    more = [f"... and {len(lines) - _LONGEST} more lines"] if len(lines) > _LONGEST else []
    return (*lines[:_LONGEST], *more)
