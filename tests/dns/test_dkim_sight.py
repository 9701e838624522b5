"""What counts as seeing a key at every authoritative server, on servers that are made up."""

import dns.message
import pytest

from maildns.asking.authority import SilentError
from maildns.rotation import Key, State
from mailwright.dkim import sight as module
from mailwright.dkim.sight import refuse_unseen, see
from mailwright.model.errors import DnsError
from mailwright.model.fleet import Fleet
from mailwright.model.keyring import Keyring
from mailwright.model.secrets import GivenSecrets
from mailwright.model.secrets_store import dkim_private_key
from mailwright.model.site import Site
from mailwright.zones.dkim import shown_key

ZONE = "brightpost.example."
KEY = Key("e1", "ed25519", State.SIGNING, 0)
FLEET = Fleet.model_validate(
    {
        "owner": {"name": "Test", "postmaster": "postmaster@example.org"},
        "domains": [{"name": ZONE, "dkim": [{"selector": "e1", "algorithm": "ed25519"}]}],
        "machines": [{"name": "m1", "fqdn": f"m1.{ZONE}", "ipv4": "203.0.113.11"}],
    }
)
SITE = Site(FLEET, (), GivenSecrets({"dkim/brightpost.example/e1": dkim_private_key("ed25519")}))
(DOMAIN,) = FLEET.domains
TEXT = shown_key(DOMAIN, KEY, SITE.secrets).text


class Answers:
    """A server, or its silence (`None`)."""

    def __init__(self, name, *values):
        self.name, self.values = name, values

    def __str__(self):
        return self.name

    def ask(self, name, type_):
        if None in self.values:
            raise SilentError(f"{self} does not answer")
        return frozenset(self.values if (name, type_) == (f"e1._domainkey.{ZONE}", "TXT") else ())

    def query(self, name, type_):
        return dns.message.make_query(name, type_)


class World:
    """Servers of a zone, and names of servers that have no address."""

    def __init__(self, *servers, homeless=(), anchored=False):
        self._servers, self._homeless, self._anchored = servers, homeless, anchored

    def zone_of(self, _):
        return ZONE

    def servers(self, _):
        return self._servers

    def without_address(self, _):
        return self._homeless

    def anchored(self, _):
        return self._anchored


RIGHT, SILENT, LACKING = Answers("ns1", TEXT), Answers("ns2", None), Answers("ns3")


def look(world):
    return see(SITE, world, DOMAIN, KEY, lambda: 0)


def test_all_servers_that_are_named_must_show_it():
    assert look(World(RIGHT, RIGHT)).everywhere
    assert look(World(RIGHT, SILENT)).silent == ("ns2 does not answer",)
    assert look(World(RIGHT, LACKING)).lacking == ("ns3 has no key there",)
    assert not look(World()).everywhere


def test_a_server_that_has_no_address_for_now_is_not_left_out():
    sight = look(World(RIGHT, homeless=("ns9.example.",)))
    assert (sight.silent, sight.everywhere) == (("ns9.example. has no address",), False)


def test_a_key_beside_something_else_is_not_seen():
    # RFC 6376 section 3.6.2.2: what verifiers make of it is undefined.
    assert look(World(Answers("ns1", TEXT, "hello"))).lacking == ("ns1 shows something else beside it",)


def test_what_a_validating_resolver_would_not_accept_is_not_seen():
    (lacking,) = look(World(RIGHT, anchored=True)).lacking
    assert "shows no DNSKEY" in lacking


@pytest.mark.parametrize(
    ("servers", "known", "refused"),
    [
        ((RIGHT, RIGHT), False, False),
        ((RIGHT, SILENT), False, True),
        ((RIGHT, SILENT), True, False),
        ((SILENT, SILENT), True, True),
        ((RIGHT, LACKING), True, True),
    ],
)
def test_hosts_keep_a_key_that_they_were_seen_to_sign_with_while_a_server_is_down(
    servers, known, refused, monkeypatch
):
    monkeypatch.setattr(module, "World", lambda _: World(*servers))
    ring = Keyring().ring(DOMAIN.name).adopt("e1", "ed25519", 0)
    site = SITE.with_keyring(Keyring().put(DOMAIN.name, ring)) if known else SITE
    if refused:
        with pytest.raises(DnsError, match="e1 of brightpost"):
            refuse_unseen(site)
    else:
        refuse_unseen(site)
