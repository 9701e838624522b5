"""`mailwright dns import`: a zone that exists already, as a part of a fleet file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

from maildns.errors import MaildnsError
from maildns.providers.axfr import TsigKey, read_axfr
from maildns.providers.masterfile import read_zone
from maildns.records import RRset, canonical_name
from mailwright.command.console import note, say
from mailwright.command.inventory import open_site
from mailwright.model.errors import DnsError
from mailwright.model.secrets_store import variable
from mailwright.providers import provider_of
from mailwright.publish import as_dns_error
from mailwright.takeover import Fate, Line, Takeover, take_over

UNCLEAR = 3
"""Exit status where something of the zone was not understood."""

Fleet = Annotated[
    Path | None,
    typer.Option("--fleet", metavar="INVENTORY", help="A fleet file: its providers and its secrets."),
]


def import_(
    zones: Annotated[list[str], typer.Argument(metavar="ZONE", help="The zones, reverse zones too.")],
    *,
    file: Annotated[
        list[Path] | None, typer.Option("--file", metavar="FILE", help="A master file; repeatable.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="ADDRESS", help="Transfer the zones from here (AXFR).")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of --server.")] = 53,
    key_name: Annotated[
        str | None, typer.Option("--key-name", metavar="NAME", help="Of the TSIG key, for --server.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="SECRET", help="Name of the secret with the TSIG key, for --server."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Read through this provider of --fleet.")
    ] = None,
    fleet: Fleet = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs, on standard output: every record with its fate.")
    ] = False,
) -> None:
    """Turn zones that exist already into a part of a fleet file.

    The part goes to standard output: the domains with what their mail policies say, and the machines that
    take or send mail. Standard error accounts for every record: what the fleet will publish otherwise, what
    it leaves to others, and what was not understood and why. Give a zone and its reverse zones together, so
    that PTR records find their machines. Nothing is changed anywhere.

        mailwright dns import brightpost.example --file brightpost.zone > fleet.yaml

        mailwright dns import brightpost.example --provider primary --fleet inventory/prod.yaml

    Without --fleet, the secret of `--key tsig/primary` comes from the environment:
    MAILWRIGHT_SECRET_TSIG_PRIMARY.

    Exit status: 0 all was understood, 1 an error, 3 something was not understood.
    """
    if [bool(file), bool(server), bool(provider)].count(True) != 1:
        raise DnsError("say where the zones are: one of --file, --server and --provider")
    with as_dns_error():
        names = [canonical_name(z if z.endswith(".") else f"{z}.") for z in zones]
        if file:
            read = _from_files(file, names)
        elif provider:
            read = _through(provider, fleet, names)
        else:
            tsig = _key(fleet, key_name, key)
            read = (r for name in names for r in read_axfr(server or "", name, tsig, port=port))
        found = take_over(names, tuple(read), provider)
    if as_json:
        say(json.dumps(asdict(found), indent=2))
    else:
        typer.echo(_yaml(found), nl=False)
        _account(found)
    raise typer.Exit(UNCLEAR if found.of(Fate.UNCLEAR) else 0)


def _from_files(files: list[Path], zones: list[str]) -> Iterator[RRset]:
    """All files. Before any $ORIGIN, names are relative to the zone in the same place of its list."""
    for place, file in enumerate(files):
        try:
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise DnsError(f"{file}: {error.strerror}") from None
        try:
            yield from read_zone(text, zones[min(place, len(zones) - 1)])
        except MaildnsError as error:
            raise DnsError(f"{file}: {error}") from None


def _through(provider: str, fleet: Path | None, zones: list[str]) -> Iterator[RRset]:
    """As a provider of a fleet file gives them."""
    if fleet is None:
        raise DnsError("--provider is one of a fleet file: name that with --fleet")
    site = open_site(fleet)
    if provider not in site.fleet.providers:
        there = ", ".join(site.fleet.providers) or "none"
        raise DnsError(f"{fleet} has no provider {provider}; there are {there}")
    held = provider_of(site, provider)
    for zone in zones:
        yield from held.fetch(zone).rrsets


def _key(fleet: Path | None, name: str | None, secret: str | None) -> TsigKey | None:
    if bool(name) != bool(secret):
        raise DnsError("a TSIG key has a name and a secret: --key-name and --key go together")
    return TsigKey(name, _secret(fleet, secret)) if name and secret else None


def _secret(fleet: Path | None, name: str) -> str:
    if fleet is not None:
        return open_site(fleet).secrets.get(name)
    if value := os.environ.get(variable(name)):
        return value.strip()
    raise DnsError(
        f"the secret {name}: set {variable(name)}, or name the fleet file that has it with --fleet"
    )


def _yaml(found: Takeover) -> str:
    if not found.fragment:
        return "# Nothing of these zones is about mail.\n"
    text = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 110
    yaml.dump(found.fragment, text)
    return "".join(f"# To do: {each}\n" for each in found.todo) + text.getvalue()


def _account(found: Takeover) -> None:
    """What becomes of every record that the fleet does not publish just as it is."""
    taken = found.of(Fate.TAKEN)
    same = [line for line in taken if not line.becomes]
    note(f"{len(same)} records stay as they are")
    for line in (line for line in taken if line.becomes):
        note(f"published otherwise: {_shown(line)}: {line.reason}")
        note(f"  as {'; '.join(line.becomes)}")
    for fate, style in ((Fate.LEFT, "dim"), (Fate.UNCLEAR, "yellow")):
        for line in found.of(fate):
            note(f"{fate.value}: {_shown(line)}: {line.reason}", style)


def _shown(line: Line) -> str:
    """On one line, whatever octets are in it."""
    plain = line.value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"{line.name} {line.type} {''.join(c if c.isprintable() else ascii(c)[1:-1] for c in plain)}"
