"""The keyring's file, and the fleet seen through it."""

from dataclasses import replace

import pytest

from maildns.rotation import Key, Ring, State
from mailwright.model.errors import FleetError
from mailwright.model.fleet import Fleet
from mailwright.model.keyring import Keyring, folded, keyring_file, read_keyring, write_keyring
from mailwright.model.load import load_fleet
from mailwright.model.secrets import GivenSecrets
from mailwright.model.secrets_store import dkim_private_key
from mailwright.model.site import Site
from mailwright.zones.dkim import shown_key
from roles import opendkim

FLEET = """\
owner: {name: Test, postmaster: postmaster@example.org}
domains:
  - name: brightpost.example
    dkim:
      - {selector: r1, algorithm: rsa}
machines:
  - {name: m1, fqdn: m1.brightpost.example, ipv4: 203.0.113.11, roles: {}}
"""
NOW = 1_800_000_000
OLD = Key("r1", "rsa", State.RETIRING, NOW, None, 300)
NEW = Key("r2", "rsa", State.SIGNING, NOW, NOW - 500, 300)
RINGS = Keyring({"brightpost.example": Ring((OLD, NEW))})


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "prod.yaml"
    file.write_text(FLEET)
    return file


def test_what_is_written_is_read(tmp_path):
    odd = Key("null", "ed25519", State.PUBLISHED, NOW, None, 60, standby=True, urgent=True)
    keyring = RINGS.put(Fleet.model_validate(_data()).domains[0].name, Ring((OLD, NEW, odd)))
    write_keyring(tmp_path / "prod.dkim.yaml", keyring)
    assert read_keyring(tmp_path / "prod.dkim.yaml") == keyring


def test_a_fleet_without_a_keyring_has_its_first_keys(file):
    assert read_keyring(keyring_file(file)) == Keyring()
    assert [k.selector for k in load_fleet(file).domains[0].dkim] == ["r1"]


def test_the_key_that_signs_takes_the_first_one_s_place(file):
    write_keyring(keyring_file(file), RINGS)
    assert [k.selector for k in load_fleet(file).domains[0].dkim] == ["r2"]


def test_the_key_that_hosts_switch_to_is_what_they_are_given():
    ring = Ring((Key("r1", "rsa", State.SIGNING, NOW), Key("r2", "rsa", State.SWITCHING, NOW)))
    fleet = folded(Fleet.model_validate(_data()), Keyring({"brightpost.example": ring}))
    assert [k.selector for k in fleet.domains[0].dkim] == ["r2"]
    shown = {k.selector: k.state for k in Keyring({"brightpost.example": ring}).shown(fleet.domains[0])}
    assert shown == {"r1": State.SIGNING, "r2": State.SIGNING}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("r1", "r9", "5: domains[0].dkim[0].selector: r9 was never the domain's rsa key: r2 signs"),
        ("rsa", "ed25519", "5: domains[0].dkim[0].selector: r1 was used before"),
    ],
)
def test_the_fleet_file_cannot_exchange_a_key_past_the_keyring(file, old, new, said):
    write_keyring(keyring_file(file), RINGS)
    file.write_text(FLEET.replace(f": {old}", f": {new}"))
    with pytest.raises(FleetError) as error:
        load_fleet(file)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format: 2\n", "prod.dkim.yaml:1: format"),
        (
            "format: 1\ndomains:\n  a.example:\n    - {selector: r1, algorithm: rsa, state: lost}\n",
            "prod.dkim.yaml:4: domains",
        ),
        (
            "format: 1\ndomains:\n  a.example:\n    - {selector: r1, algorithm: rsa, state: made, seen: x}\n",
            "not a time such as",
        ),
        (
            "format: 1\ndomains:\n  a.example:\n"
            + "    - {selector: r1, algorithm: rsa, state: deleted}\n" * 2,
            "stands there twice",
        ),
    ],
)
def test_a_damaged_keyring_is_one_line_with_its_place(file, text, said):
    keyring_file(file).write_text(text)
    with pytest.raises(FleetError) as error:
        load_fleet(file)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_revoked_is_shown_so_and_no_host_keeps_its_private_half():
    ring = Ring((replace(OLD, state=State.REVOKED), Key("r0", "rsa", State.DELETED, NOW), NEW))
    keyring = Keyring({"brightpost.example": ring})
    new = dkim_private_key("ed25519")
    fleet = Fleet.model_validate(_data())
    site = Site(fleet, (opendkim.ROLE,), GivenSecrets({"dkim/brightpost.example/r2": new})).with_keyring(
        keyring
    )
    (domain,) = site.fleet.domains
    assert [k.selector for k in domain.dkim] == ["r2"]
    assert {a.path for a in site.plan(site.fleet.machines[0]).merged.absent} == {
        "/etc/opendkim/keys/brightpost.example/r1.pem",
        "/etc/opendkim/keys/brightpost.example/r0.pem",
    }
    revoked = shown_key(domain, keyring.ring(domain.name).key("r1"), site.secrets)
    assert revoked.text == "v=DKIM1; k=rsa; p="
    assert [k.selector for k in keyring.shown(domain)] == ["r2", "r1"]


def test_only_what_a_rotation_lets_go_of_is_released():
    ring = Ring((replace(OLD, state=State.REVOKED), Key("r0", "rsa", State.DELETED, NOW), NEW))
    assert RINGS.released() == frozenset()
    assert Keyring({"brightpost.example": ring}).released() == {
        "signing-key=r1._domainkey.brightpost.example.",
        "signing-key=r0._domainkey.brightpost.example.",
    }


def _data():
    return {
        "owner": {"name": "Test", "postmaster": "postmaster@example.org"},
        "domains": [{"name": "brightpost.example", "dkim": [{"selector": "r1", "algorithm": "rsa"}]}],
        "machines": [
            {"name": "m1", "fqdn": "m1.brightpost.example", "ipv4": "203.0.113.11", "roles": {"opendkim": {}}}
        ],
    }
