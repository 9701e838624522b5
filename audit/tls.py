"""testssl.sh: protocols, ciphers, certificates and known weaknesses of every TLS port."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from audit.installed import release
from audit.subjects import Subjects, TlsPort
from audit.verdict import Finding, JudgeError, Task, Verdict

NAME = "testssl.sh"
TITLE = "TLS"
ABOUT = """\
Every TLS port of each kind of machine and of the pools' virtual addresses, seen from a stranger's host (the
backup store's from a machine that backs itself up). Marked down is what testssl.sh gives the severity LOW or
worse, or a warning."""
_PARTS = ("--protocols", "--std", "--pfs", "--server-defaults", "--server-preference", "--vulnerable")
_SECONDS = 1500
_GOOD = frozenset({"OK", "INFO", "DEBUG"})
_SHOWN = {"TLS1_2": "TLS 1.2", "TLS1_3": "TLS 1.3", "TLS1": "TLS 1.0", "TLS1_1": "TLS 1.1"}


def version() -> str:
    """What is installed."""
    return release("testssl.sh")


def tasks(subjects: Subjects) -> Iterator[Task]:
    """A run for each port."""
    for port in subjects.tls_ports():
        yield Task(port.place, partial(judge, subjects, port))


def judge(subjects: Subjects, port: TlsPort) -> tuple[Verdict, ...]:
    """Have testssl.sh look at a port.

    Raises:
        JudgeError: it did not get to its end.
    """
    ca = subjects.trusted
    with tempfile.TemporaryDirectory(prefix="mailwright-audit-") as folder:
        report = Path(folder, "report.json")
        argv = [
            *("testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"),
            *("--connect-timeout", "20", "--openssl-timeout", "20"),
            *("--add-ca", str(ca), "--jsonfile", str(report), "--ip", port.address),
            *(("--starttls", port.protocol) if port.protocol else ()),
            *_PARTS,
            f"{port.name}:{port.number}",
        ]
        done = subjects.host(port.seen_from).in_network(argv, timeout=_SECONDS)
        if not report.exists():
            raise JudgeError(f"testssl.sh left no report: {(done.stderr or done.stdout).strip()[-200:]}")
        return (parse(port.place, report.read_text()),)


def parse(place: str, report: str) -> Verdict:
    """The verdict of a flat JSON report.

    Raises:
        JudgeError: the report is not whole.
    """
    try:
        rows: Sequence[Mapping[str, str]] = json.loads(report)
    except ValueError as error:
        raise JudgeError(f"testssl.sh was cut short: {error}") from error
    broken = [row["finding"] for row in rows if row["severity"] == "FATAL"]
    if broken or not any(row["id"] == "scanTime" for row in rows):
        raise JudgeError(f"testssl.sh gave up: {' '.join(broken) or 'the end of its report is missing'}")
    marked = [row for row in rows if row["severity"] not in _GOOD]
    findings = tuple(Finding(row["id"], f"{row['severity']}: {row['finding'].strip()}") for row in marked)
    offered = [shown for name, shown in _SHOWN.items() if _offered(rows, name)]
    return Verdict(place, ", ".join(offered) or "no TLS", findings)


def _offered(rows: Sequence[Mapping[str, str]], protocol: str) -> bool:
    return any(row["id"] == protocol and row["finding"].startswith("offered") for row in rows)
