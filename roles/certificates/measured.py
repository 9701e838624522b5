"""Until when certificates are valid, for the textfile collector of prometheus-node-exporter(1).

Those of an ACME authority are measured by the program that renews them, in the same file by the same name.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import PurePosixPath

from mailwright.model.needs import Certificate

METRICS = "/var/lib/prometheus/node-exporter/mailwright_certificates.prom"
NOT_AFTER = "mailwright_certificate_not_after_seconds"
_MEANING = "When the certificate ends, in seconds since the epoch."


def write(certificates: Iterable[Certificate]) -> str:
    """Shell that puts the file in place whole."""
    folder = PurePosixPath(METRICS).parent
    new = f"{METRICS}.new"
    text = _text(certificates)
    return f"mkdir -p {folder} && {{ {text}; }} >{new} && chmod 644 {new} && mv -f {new} {METRICS}"


def written(certificates: Iterable[Certificate]) -> str:
    """Shell that succeeds when the file says what is so."""
    return f"{{ {_text(certificates)}; }} 2>/dev/null | cmp -s - {METRICS}"


def _text(certificates: Iterable[Certificate]) -> str:
    lines = [f"echo '# HELP {NOT_AFTER} {_MEANING}'", f"echo '# TYPE {NOT_AFTER} gauge'"]
    for certificate in certificates:
        for pair in certificate.pairs:
            metric = f'{NOT_AFTER}{{certificate="{certificate.name}",algorithm="{pair.algorithm}"}}'
            end = f"$(openssl x509 -in {shlex.quote(pair.chain)} -noout -enddate | cut -d= -f2)"
            lines.append(f'echo {shlex.quote(metric)} "$(date -d "{end}" +%s)"')
    return "; ".join(lines)
