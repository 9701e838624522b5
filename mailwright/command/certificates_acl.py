"""`mailwright certificates acl`: the rights that machines need to prove their names."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from mailwright.acme import Prover, bind, knot, provers, route53_policy
from mailwright.command.console import Limit, note, say
from mailwright.command.inventory import Inventory, open_site
from mailwright.model.acme import credential
from mailwright.model.errors import MailwrightError
from mailwright.model.providers import Cloudflare, Rfc2136, Route53
from mailwright.model.select import select

Server = Annotated[Literal["knot", "bind"], typer.Option(help="Whose configuration to print.")]


def acl(inventory: Inventory, server: Server = "knot", limit: Limit = None) -> None:
    """Print what lets each machine prove its names in the DNS, and do nothing else there.

    For a server that takes signed updates: keys and access lists; KEY stands for a secret. For Route53: the
    policy of each machine's access key. For Cloudflare: the names whose zones its token must reach.

        mailwright certificates acl inventory/prod.yaml --server bind

    Exit status: 0 printed, 1 an error.
    """
    site = open_site(inventory)
    chosen = {machine.name for machine in select(site.fleet, limit or [])}
    found = [each for each in provers(site.fleet) if each.machine.name in chosen]
    if not found:
        raise MailwrightError("no machine has `certificates: {mode: acme}` with `challenge: dns-01`")
    if any(isinstance(each.provider, Rfc2136) for each in found):
        _signed_updates(found, server)
    for each in found:
        if isinstance(each.provider, Route53):
            note(f"{each.machine.name}: the IAM policy of the key in {credential(each.machine.name, '...')}")
            say(json.dumps(route53_policy(each), indent=2))
        elif isinstance(each.provider, Cloudflare):
            note(
                f"{each.machine.name}: a token with Zone:Read and DNS:Edit on the zones of these names alone"
            )
            say("\n".join(each.names))


def _signed_updates(found: list[Prover], server: str) -> None:
    if server == "knot":
        lists = ", ".join(f"acme-{each.machine.name}" for each in found if isinstance(each.provider, Rfc2136))
        say(knot(found))
        note(f"in each zone of these names, beside the list of mailwright's own key: acl: [ {lists} ]")
    else:
        keys, grants = bind(found)
        say(keys)
        say(f"update-policy {{\n{grants}\n}};")
        note("the policy belongs into each zone of these names, beside the grant of mailwright's own key")
