"""The certificate authority: pebble, which speaks ACME (RFC 8555) as Let's Encrypt does.

It looks challenges up at the lab's name server and fetches them from port 80. Its own certificate is the
lab's authority's. Each start draws a new root (pebble(1)): all that it ever had are kept beside it, so that
what it issued before a restart can still be verified.
"""

from __future__ import annotations

from mailwright.lab import keys
from mailwright.lab.container import Seed
from mailwright.lab.plan import LabPlan
from mailwright.lab.world import WorldHost, template

DIRECTORY_PORT, MANAGEMENT_PORT = 14000, 15000
ROOTS = "/var/lib/pebble/roots"
_CONFIG, _CERTIFICATE, _KEY = "/etc/pebble/config.json", "/etc/pebble/api.crt", "/etc/pebble/api.key"


def certificate_authority(plan: LabPlan) -> WorldHost:
    """The authority of a lab."""
    name_server = plan.host("ns").address
    certificate, key = keys.signed_pair(plan, "ca")
    return WorldHost(
        packages=("pebble", "curl"),
        files=(
            Seed("/etc/resolv.conf", f"nameserver {name_server}\n".encode()),
            Seed(
                _CONFIG,
                template(
                    "pebble.json.j2",
                    directory=DIRECTORY_PORT,
                    management=MANAGEMENT_PORT,
                    certificate=_CERTIFICATE,
                    key=_KEY,
                ),
            ),
            Seed(_CERTIFICATE, certificate),
            Seed(_KEY, key, 0o600),
            Seed(
                "/etc/systemd/system/pebble.service",
                template(
                    "pebble.service.j2",
                    config=_CONFIG,
                    name_server=name_server,
                    management=MANAGEMENT_PORT,
                    roots=ROOTS,
                ),
            ),
            # Debian's pebble has no service, so that nothing has enabled ours.
            Seed("/etc/systemd/system/multi-user.target.d/lab.conf", b"[Unit]\nWants=pebble.service\n"),
        ),
        units=("pebble.service",),
    )
