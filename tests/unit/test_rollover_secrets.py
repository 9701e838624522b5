"""A roll-over's part in the secrets: next pairs are fit or refused, and exchanged in one stroke."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailwright.certificate import new_key
from mailwright.model.errors import SecretError
from mailwright.model.needs import Certificate
from mailwright.model.secrets_file import Vault
from mailwright.model.secrets_store import FleetSecrets, initialise
from mailwright.rollover import world
from mailwright.rollover.world import RealEffects
from tests.unit.test_command_certificates import NAMES, NOW, made, site

KEY, NEXT, RSA, NEXT_RSA = new_key("ecdsa"), new_key("ecdsa"), new_key("rsa"), new_key("rsa")
BOTH = Certificate("smtp", NAMES, pinned=tuple((name, 25) for name in NAMES), algorithms=("ecdsa", "rsa"))
NOW_SERVED = {
    "privkey": KEY,
    "fullchain": made(KEY),
    "rsa-privkey": RSA,
    "rsa-fullchain": made(RSA),
}
COMING = {
    "next-privkey": NEXT,
    "next-fullchain": made(NEXT),
    "rsa-next-privkey": NEXT_RSA,
    "rsa-next-fullchain": made(NEXT_RSA),
}


@pytest.fixture
def vault(tmp_path):
    """A secrets file with the pairs in use."""
    found = Vault(tmp_path / "secrets.age", tmp_path / "identity", {})
    initialise(site().fleet, found.file, found.identity, environ={})
    put(found, NOW_SERVED)
    return found


def put(vault, parts):
    with vault.changing() as content:
        content.secrets.update({f"certificate/smtp/{part}": value for part, value in parts.items()})


def held(vault):
    return {
        name.removeprefix("certificate/smtp/"): value
        for name, value in vault.read().secrets.items()
        if name.startswith("certificate/smtp/")
    }


@pytest.fixture
def effects(vault):
    def open_site():
        return replace(site(certificate=BOTH), secrets=FleetSecrets(vault))

    return RealEffects(open_site, "smtp", vault, lambda *_: {}, NOW.timestamp)


def test_a_key_that_could_be_looked_at_nowhere_is_not_taken_for_served(effects, monkeypatch):
    monkeypatch.setattr(world, "has_route", lambda _: False)
    assert effects.not_served() == ("there is no route from here to any place where smtp is served",)


def test_both_pairs_are_exchanged_in_one_stroke_and_the_old_keys_kept_for_a_while(effects, vault):
    put(vault, COMING)
    effects.require_fit()
    effects.note_announced(0)
    before = effects.keys()
    effects.promote(before)
    assert held(vault) == {
        "privkey": NEXT,
        "fullchain": COMING["next-fullchain"],
        "old-privkey": KEY,
        "rsa-privkey": NEXT_RSA,
        "rsa-fullchain": COMING["rsa-next-fullchain"],
        "rsa-old-privkey": RSA,
    }
    assert (effects.keys().used, effects.keys().old) == (before.coming, before.used)
    effects.forget_old()
    assert effects.keys().old == frozenset()


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({}, "certificates request"),
        ({"next-privkey": NEXT}, "next-fullchain is missing"),
        (COMING | {"next-fullchain": made(KEY)}, "not that of the chain's first"),
        (COMING | {"next-fullchain": made(NEXT, days=-1)}, "expired on"),
        (COMING | {"rsa-next-fullchain": made(NEXT_RSA, NAMES[:1])}, "does not cover mx.example.org."),
        (COMING | {"rsa-next-privkey": NEXT, "rsa-next-fullchain": made(NEXT)}, "the key is no RSA key"),
        (COMING | {"next-privkey": KEY, "next-fullchain": made(KEY)}, "is the key in use"),
    ],
)
def test_a_next_pair_that_cannot_be_served_is_refused(effects, vault, parts, says):
    put(vault, parts)
    before = vault.file.read_bytes()
    effects.keys()
    with pytest.raises(SecretError, match=says) as error:
        effects.require_fit()
    assert "PRIVATE KEY" not in str(error.value)
    assert vault.file.read_bytes() == before


def test_a_key_that_the_environment_gives_is_not_exchanged(effects, vault, monkeypatch):
    put(vault, COMING)
    monkeypatch.setitem(vault.environ, "MAILWRIGHT_SECRET_CERTIFICATE_SMTP_PRIVKEY", KEY)
    with pytest.raises(SecretError, match="MAILWRIGHT_SECRET_CERTIFICATE_SMTP_PRIVKEY is in the environment"):
        effects.require_fit()


def test_a_next_key_that_is_there_stays(effects, vault):
    put(vault, {"next-privkey": NEXT})
    effects.make_next()
    assert held(vault)["next-privkey"] == NEXT
    assert "rsa-next-privkey" in held(vault)


def test_secrets_that_changed_meanwhile_are_not_promoted(effects, vault):
    put(vault, COMING)
    keys = effects.keys()
    put(vault, {"next-privkey": new_key("ecdsa")})
    with pytest.raises(SecretError, match="changed meanwhile"):
        effects.promote(keys)
    assert held(vault)["privkey"] == KEY
