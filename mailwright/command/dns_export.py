"""`mailwright dns export`: the zones as files, for those who may not publish by API."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from maildns.names import longest_zone
from maildns.providers.masterfile import Spine, write_zone
from maildns.records import RRset, canonical_name
from mailwright.command.console import note
from mailwright.command.inventory import Inventory, open_site
from mailwright.includes import with_includes
from mailwright.model.errors import DnsError
from mailwright.model.names import DnsName
from mailwright.model.site import Site
from mailwright.publish import as_dns_error
from mailwright.zones import desired, zone_providers

ELSEWHERE = "."
"""The origin of what belongs in zones that the fleet file does not know."""


class Format(StrEnum):
    """How a zone is written."""

    MASTER = "master"
    OCTODNS = "octodns"


def export(
    inventory: Inventory,
    *,
    zone: Annotated[
        list[str] | None, typer.Option("--zone", metavar="ZONE", help="This zone only; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A file a zone; default: standard output.")
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="A master file, or YAML as octoDNS reads it.")
    ] = Format.MASTER,
    ns: Annotated[
        list[str] | None,
        typer.Option("--ns", metavar="HOST", help="Write whole zones, with SOA and these NS; repeatable."),
    ] = None,
    serial: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the SOA, with --ns.")] = 1,
) -> None:
    """Write what each zone should hold, to be published by hand.

    A master file (RFC 1035) has a comment before each record that says why it is there. It is part of a zone:
    `$INCLUDE` it, or paste it where your provider imports zone files. With --ns it is a whole zone that a
    server loads. Domains without a provider are written too; what belongs in zones that the fleet
    file does not know comes last, with full names. The same fleet gives the same files.

        mailwright dns export inventory/prod.yaml --zone brightpost.example

        mailwright dns export inventory/prod.yaml --out zones --ns ns1.example.net --ns ns2.example.net

    Exit status: 0 written, 1 an error.
    """
    site = open_site(inventory)
    with as_dns_error():
        zones = _chosen(_by_zone(site), tuple(_absolute(name) for name in zone or ()))
        spine = _spine(site, tuple(map(_host, ns or ())), serial)
    for name, rrsets in zones.items():
        if format_ is Format.OCTODNS and name == ELSEWHERE:
            note(f"left out, in no zone of the fleet file: {', '.join(sorted(r.name for r in rrsets))}")
            continue
        with as_dns_error():
            text = _octodns(name, rrsets) if format_ is Format.OCTODNS else _master(name, rrsets, spine)
        _write(out, name, format_, text, rrsets)


def _by_zone(site: Site) -> dict[str, tuple[RRset, ...]]:
    """Every set in its zone, whoever holds that."""
    wanted = desired(with_includes(site))
    known = zone_providers(site.fleet)
    placed: dict[str, list[RRset]] = {name: [] for name in [*known, ELSEWHERE]}
    for each in (*(r for z in wanted.zones for r in z.rrsets), *wanted.by_hand):
        placed[longest_zone(each.name, known) or ELSEWHERE].append(each)
    return {name: tuple(rrsets) for name, rrsets in placed.items() if rrsets}


def _chosen(zones: dict[str, tuple[RRset, ...]], names: tuple[str, ...]) -> dict[str, tuple[RRset, ...]]:
    for name in names:
        if name not in zones:
            there = ", ".join(n.removesuffix(".") for n in zones if n != ELSEWHERE)
            raise DnsError(f"the fleet has no records in {name.removesuffix('.')}; there are {there}")
    return {name: rrsets for name, rrsets in zones.items() if not names or name in names}


def _spine(site: Site, servers: tuple[str, ...], serial: int) -> Spine | None:
    return Spine(servers, site.fleet.owner.postmaster, serial) if servers else None


def _master(name: str, rrsets: tuple[RRset, ...], spine: Spine | None) -> str:
    count = _count(rrsets)
    if name == ELSEWHERE:
        return write_zone(name, rrsets, [f"{count} for zones that the fleet file does not know"])
    whole = "the whole zone" if spine else "a part of the zone: it has neither SOA nor NS"
    return write_zone(name, rrsets, [f"{name.removesuffix('.')}: {count}, {whole}"], spine)


def _octodns(name: str, rrsets: tuple[RRset, ...]) -> str:
    try:
        from maildns.providers.octodns_yaml import write_yaml  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise DnsError(f"no module {error.name}: pip install 'mailwright[octodns]'") from None
    return write_yaml(name, rrsets)


def _write(out: Path | None, zone: str, format_: Format, text: str, rrsets: tuple[RRset, ...]) -> None:
    if out is None:
        typer.echo(text)
        return
    stem = "elsewhere" if zone == ELSEWHERE else zone.removesuffix(".").replace("/", "-")
    file = out / f"{stem}.{'yaml' if format_ is Format.OCTODNS else 'zone'}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise DnsError(f"{file}: {error.strerror}") from None
    note(f"{file}: {_count(rrsets)}")


def _count(rrsets: tuple[RRset, ...]) -> str:
    count = sum(len(each.rdata) for each in rrsets)
    return f"{count} record" if count == 1 else f"{count} records"


def _host(name: str) -> str:
    try:
        return str(DnsName.parse(name))
    except ValueError as error:
        raise DnsError(f"--ns: {error}") from None


def _absolute(name: str) -> str:
    return canonical_name(name if name.endswith(".") else f"{name}.")
