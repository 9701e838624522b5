"""checkdmarc: what the world sees of each domain of the fleet."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from audit.subjects import OUTSIDE, Subjects
from audit.verdict import Finding, JudgeError, Task, Verdict

NAME = "checkdmarc"
TITLE = "Domains"
ABOUT = """\
Every domain of the fleet: SPF, DMARC, MX, DNSSEC, TLS reports, BIMI and the MTA-STS policy over HTTPS, asked
from a stranger's host at the lab's name server. Marked down is every error and every warning."""
_SECONDS = 600
# The stranger's network has the controller's files; names are to be looked up in the lab.
_LIKE_A_STRANGER = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


def version() -> str:
    """What is installed."""
    return metadata.version("checkdmarc")


def tasks(subjects: Subjects) -> Iterator[Task]:
    """A run for each domain."""
    for domain in subjects.site.fleet.domains:
        yield Task(domain.name.bare, partial(judge, subjects, domain.name.bare))


def judge(subjects: Subjects, domain: str) -> tuple[Verdict, ...]:
    """Have checkdmarc look at a domain.

    Raises:
        JudgeError: it did not say anything that can be read.
    """
    ca, server = str(subjects.trusted), subjects.lab.plan.host("ns").address
    stranger = subjects.host(OUTSIDE)
    resolver = subjects.lab.plan.state / "audit-resolv.conf"
    resolver.write_text(f"nameserver {server}\n")
    argv = [
        *("unshare", "--mount", "sh", "-c", _LIKE_A_STRANGER, "sh", str(resolver)),
        *("env", f"REQUESTS_CA_BUNDLE={ca}", f"SSL_CERT_FILE={ca}"),
        *(_program(), "--nameserver", server, "--timeout", "10", "--", domain),
    ]
    done = stranger.in_network(argv, timeout=_SECONDS)
    if not done.ok:
        raise JudgeError(f"checkdmarc failed: {done.stderr.strip()[-200:]}")
    return (parse(domain, done.stdout),)


def parse(domain: str, report: str) -> Verdict:
    """The verdict of its JSON.

    Raises:
        JudgeError: it is none of that domain.
    """
    try:
        found: Mapping[str, Any] = json.loads(report)
        known = found["domain"] == domain
    except (ValueError, KeyError, TypeError) as error:
        raise JudgeError(f"checkdmarc said nothing that can be read: {report[-200:]}") from error
    if not known:
        raise JudgeError(f"checkdmarc spoke of {found['domain']}")
    findings = [Finding(section, says) for section, value in found.items() for says in _marked(value)]
    if not found["dnssec"]:
        findings.append(Finding("dnssec", "the zone is not signed, or not provably"))
    policy = found["dmarc"].get("tags", {}).get("p", {}).get("value", "none")
    return Verdict(domain, f"DMARC {policy}, DNSSEC {'yes' if found['dnssec'] else 'no'}", tuple(findings))


def _marked(value: object) -> Iterator[str]:
    """Errors and warnings anywhere below."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "error":
                yield str(inner)
            elif key == "warnings":
                yield from map(str, inner)
            else:
                yield from _marked(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _marked(inner)


def _program() -> str:
    return str(Path(sys.executable).with_name("checkdmarc"))
