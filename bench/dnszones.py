"""The thousand zones of the DNS benchmark: their records, as octoDNS reads them, and planned by maildns.

`python -m bench.dnszones API ENDPOINT` is our contender: read every zone, compare it, and count what is
to change.
Our records are made in memory, as from a fleet file; octoDNS's lie in a YAML file a zone, as it wants them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maildns.planning.ownership import is_marker_name
from maildns.planning.plan import plan_zone
from maildns.provider import Provider
from maildns.records import rrset

ZONES = 1000
AT_ONCE = 8
TTL = 3600

Record = tuple[str, str, str]
"""(label, type, value); the apex is the empty label."""

CLASSES = {
    "Cloudflare": ("octodns_cloudflare.CloudflareProvider", {"token": "env/BENCH_TOKEN", "pagerules": False}),
    "Route 53": ("octodns_route53.Route53Provider", {}),
}
"""The peer's provider at each API, with its options."""

FILES = {"class": "octodns.provider.yaml.YamlProvider", "enforce_order": False}


def zones() -> Iterator[tuple[str, list[Record]]]:
    """Each zone with eight records, as a sending domain has them."""
    for number in range(ZONES):
        zone = f"d{number:04}.example."
        ip = f"192.0.2.{number % 250}"
        yield (
            zone,
            [
                ("mail", "A", ip),
                ("mail", "AAAA", "2001:db8::1"),
                ("", "MX", f"10 mail.{zone}"),
                ("", "TXT", f"v=spf1 ip4:{ip} -all"),
                ("_dmarc", "TXT", "v=DMARC1; p=reject"),
                ("r1._domainkey", "TXT", "v=DKIM1; k=rsa; p=" + "A" * 392),
                ("_smtp._tls", "TXT", f"v=TLSRPTv1; rua=mailto:tls@{zone.rstrip('.')}"),
                ("_mta-sts", "TXT", "v=STSv1; id=20260101"),
            ],
        )


def absolute(label: str, zone: str) -> str:
    """The name of a record."""
    return f"{label}.{zone}" if label else zone


def write_octodns(folder: Path, api: str, endpoint: str) -> Path:
    """The peer's configuration and zone files; returns the configuration's path."""
    sources = folder / "zones"
    sources.mkdir(parents=True, exist_ok=True)
    name, options = CLASSES[api]
    if api == "Cloudflare":
        options = options | {"api_url": endpoint}
    config = {
        "manager": {"max_workers": AT_ONCE},
        "providers": {
            "files": FILES | {"directory": str(sources)},
            "api": {"class": name, **options},
        },
        "zones": {},
    }
    for zone, records in zones():
        config["zones"][zone] = {"sources": ["files"], "targets": ["api"]}
        (sources / f"{zone}yaml").write_text(json.dumps(_octodns_zone(records)))
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    return file


def _octodns_zone(records: list[Record]) -> dict[str, list[dict[str, object]]]:
    content: dict[str, list[dict[str, object]]] = {}
    for label, type_, value in records:
        said: object = value.replace(";", "\\;") if type_ == "TXT" else value
        if type_ == "MX":
            preference, exchange = value.split()
            said = {"preference": int(preference), "exchange": exchange}
        content.setdefault(label, []).append({"type": type_, "ttl": TTL, "values": [said]})
    return content


def _provider(api: str, endpoint: str) -> Provider:
    if api == "Cloudflare":
        from maildns.providers.cloudflare import Cloudflare  # noqa: PLC0415 - each contender loads what it needs

        return Cloudflare(os.environ["BENCH_TOKEN"], endpoint=endpoint)
    from maildns.providers.route53 import Route53  # noqa: PLC0415 - as above

    return Route53(endpoint=endpoint)


def main() -> None:
    """Plan every zone; a record that would change ends this with an error."""
    provider = _provider(sys.argv[1], sys.argv[2])

    def changed(zone: str, records: list[Record]) -> int:
        wanted = [rrset(absolute(label, zone), type_, TTL, [value]) for label, type_, value in records]
        plan = plan_zone(provider.fetch(zone), wanted, "us")
        # Who made them is not marked: the markers are what there is to do.
        return len(plan.conflicts) + sum(not is_marker_name(c.key[0], zone) for c in plan.changes)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = sum(pool.map(lambda each: changed(*each), zones()))
    print(f"{found} changes of records")


if __name__ == "__main__":
    main()
