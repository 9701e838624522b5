"""The secrets file: made whole, opened late, changed atomically, and silent about what it holds."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import bcrypt
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mailwright.model import secrets_file
from mailwright.model.base import SecretName
from mailwright.model.errors import SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.identities import parse_identities
from mailwright.model.role import Role, Settings
from mailwright.model.secrets import GivenSecrets
from mailwright.model.secrets_file import Content, Vault
from mailwright.model.secrets_store import (
    FleetSecrets,
    Initialised,
    initialise,
    locate,
    required,
    variable,
)
from mailwright.model.submission import password_hash

FLEET = Fleet.model_validate(
    {
        "owner": {"name": "Example", "postmaster": "postmaster@example.org"},
        "providers": {
            "p": {"type": "rfc2136", "server": "192.0.2.53", "key_name": "k", "key": "tsig/primary"}
        },
        "domains": [
            {
                "name": "news.example.com",
                "dkim": [{"selector": "r1", "algorithm": "rsa"}, {"selector": "e1", "algorithm": "ed25519"}],
            }
        ],
        "senders": [{"login": "letter", "addresses": ["@news.example.com"]}],
        "machines": [
            {
                "name": "m",
                "fqdn": "m.example.com",
                "ipv4": "192.0.2.1",
                "roles": {"store": {"keys": ["x/y"]}},
            }
        ],
    }
)
MADE = ("dkim/news.example.com/e1", "dkim/news.example.com/r1", "submission-salt", "submission/letter")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "prod.secrets.age", tmp_path / "home" / "identity", {})


def make(vault: Vault, **more: object) -> Initialised:
    return initialise(FLEET, vault.file, vault.identity, environ=vault.environ, **more)


def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def test_initialise_makes_what_can_be_made_and_names_the_rest(vault: Vault):
    done = make(vault)
    assert done.identity_made
    assert done.made == MADE
    assert [one.name for one in done.by_hand] == ["tsig/primary"]
    assert stat.S_IMODE(vault.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(vault.identity.stat().st_mode) == 0o600
    values = vault.read().secrets
    rsa_key = load_pem_private_key(values[MADE[1]].encode(), None)
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert rsa_key.key_size == 2048
    assert isinstance(load_pem_private_key(values[MADE[0]].encode(), None), ed25519.Ed25519PrivateKey)
    assert values[MADE[0]].startswith("-----BEGIN PRIVATE KEY-----\n"), "PKCS8"
    assert len(values["submission/letter"]) == 32


def test_a_second_initialise_changes_nothing_not_even_the_file(vault: Vault):
    make(vault, extra={"tsig/primary": "first"})
    before = vault.file.read_bytes()
    done = make(vault, extra={"tsig/primary": "second"})
    assert (done.identity_made, done.made, done.by_hand) == (False, (), ())
    assert vault.file.read_bytes() == before
    assert vault.read().secrets["tsig/primary"] == "first"


def test_what_roles_name_in_their_settings_is_required_too():
    class StoreSettings(Settings):
        """A list of secrets, and a text that is none."""

        keys: tuple[SecretName, ...] = ()
        more: SecretName | None = None
        text: str = "text"

    roles = (Role("store", StoreSettings, apply=lambda _: None),)
    assert "x/y" not in [one.name for one in required(FLEET)]
    assert [one.name for one in required(FLEET, roles)] == sorted([*MADE, "tsig/primary", "x/y"])


def test_nothing_is_opened_until_a_secret_is_read(vault: Vault):
    secrets = FleetSecrets(vault)
    assert "secrets" in repr(secrets).lower()
    with pytest.raises(SecretError, match=r"no such file: `mailwright secrets init INVENTORY` makes it"):
        secrets.get("submission-salt")
    make(vault)
    assert FleetSecrets(vault).names() == MADE
    with pytest.raises(SecretError, match="the secret tsig/primary is missing: `mailwright secrets set"):
        FleetSecrets(vault).get("tsig/primary")


def test_a_single_secret_comes_from_the_environment_without_any_file(vault: Vault):
    assert variable("dkim/a.example/r-1") == "MAILWRIGHT_SECRET_DKIM_A_EXAMPLE_R_1"
    secrets = FleetSecrets(Vault(vault.file, vault.identity, {variable("tsig/primary"): "value\n"}))
    assert secrets.get("tsig/primary") == "value"


def test_the_identity_comes_from_the_environment_as_text_or_file(vault: Vault, tmp_path: Path):
    make(vault)
    text = vault.identity.read_text()
    elsewhere = tmp_path / "ci"
    elsewhere.touch(0o600)
    elsewhere.write_text(text)
    vault.identity.unlink()
    for environ in ({"MAILWRIGHT_AGE_IDENTITY": text}, {"MAILWRIGHT_AGE_IDENTITY_FILE": str(elsewhere)}):
        assert Vault(vault.file, vault.identity, environ).read().secrets.keys() == set(MADE)
    with pytest.raises(
        SecretError, match=r"nothing here can open it: put an age identity into .*/home/identity"
    ):
        vault.read()


def test_a_foreign_identity_is_told_whom_to_ask(vault: Vault):
    make(vault)
    stranger = identity()
    vault.identity.write_text(str(stranger))
    with pytest.raises(SecretError) as caught:
        vault.read()
    assert str(stranger.to_public()) in str(caught.value)
    assert "mailwright secrets rekey INVENTORY --add" in str(caught.value)
    assert str(stranger) not in str(caught.value)


def test_an_ssh_key_is_an_identity_too(vault: Vault):
    vault.identity.parent.mkdir()
    key = ed25519.Ed25519PrivateKey.generate()
    vault.identity.touch(0o600)
    vault.identity.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (recipient,) = make(vault).recipients
    assert recipient.startswith("ssh-ed25519 AAAA")
    assert set(vault.read().secrets) == set(MADE)


def test_an_identity_that_others_can_read_is_refused(vault: Vault):
    make(vault)
    vault.identity.chmod(0o640)
    with pytest.raises(SecretError, match="an identity that others can read: `chmod 600 "):
        vault.read()


@pytest.mark.parametrize("text", ["", "# nothing\n", "AGE-SECRET-KEY-1NONSENSE", "hunter2hunter2", "\x00"])
def test_what_is_no_identity_is_said_without_showing_it(text: str):
    with pytest.raises(SecretError) as caught:
        parse_identities(text, "FILE")
    assert str(caught.value) == "FILE: holds no age identity (a line AGE-SECRET-KEY-1...)"


@pytest.mark.parametrize("cut", [0, 1, 40, 200, -100])
def test_a_damaged_file_is_one_line_that_says_what_to_do(vault: Vault, cut: int):
    make(vault)
    sealed = vault.file.read_bytes()
    for damaged in (sealed[:cut], sealed[:cut] + b"x" + sealed[cut:][1:], b"\x00" + sealed):
        vault.file.write_bytes(damaged)
        with pytest.raises(SecretError) as caught:
            vault.read()
        assert "\n" not in str(caught.value)
        assert "damaged, or not a secrets file: take it back from version control" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"secrets": {}},
        {"recipients": [], "secrets": {}},
        {"recipients": ["age1"], "secrets": {"a": 123456}},
    ],
)
def test_content_of_another_shape_is_refused_without_showing_it(data: object):
    with pytest.raises(SecretError) as caught:
        Content.checked(data, "FILE")
    assert "123456" not in str(caught.value)


def test_every_recipient_can_open_the_file_also_after_later_changes(vault: Vault):
    colleague = identity()
    make(vault, recipients=[str(colleague.to_public())])
    with vault.changing() as content:
        content.secrets["a"] = "b"
    data = json.loads(pyrage.decrypt(vault.file.read_bytes(), [colleague]))
    assert data["secrets"]["a"] == "b"
    assert len(data["recipients"]) == 2


def test_nobody_locks_themselves_out(vault: Vault):
    make(vault)
    before = vault.file.read_bytes()
    with (
        pytest.raises(SecretError, match="unchanged: you could not open it any more"),
        vault.changing() as content,
    ):
        content.recipients[:] = [str(identity().to_public())]
    assert vault.file.read_bytes() == before


def test_a_change_that_fails_leaves_the_file_and_nothing_beside_it(vault: Vault):
    make(vault)
    before = vault.file.read_bytes()

    def fail() -> None:
        with vault.changing() as content:
            content.secrets.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert vault.file.read_bytes() == before
    assert sorted(p.name for p in vault.file.parent.iterdir()) == ["home", "prod.secrets.age"]


def test_changes_at_the_same_time_are_all_kept(vault: Vault):
    make(vault)

    def add(name: str) -> None:
        with vault.changing() as content:
            content.secrets[name] = name

    threads = [threading.Thread(target=add, args=(f"n{i}",)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"n{i}" for i in range(12)} <= vault.read().secrets.keys()


def test_who_waits_too_long_is_told_so(vault: Vault, monkeypatch: pytest.MonkeyPatch):
    make(vault)
    monkeypatch.setattr(secrets_file, "LOCK_SECONDS", 0.0)
    with (
        vault.changing(),
        pytest.raises(SecretError, match="somebody else is changing it"),
        vault.changing(),
    ):
        pass


def test_values_do_not_show(vault: Vault):
    make(vault)
    value = vault.read().secrets["submission/letter"]
    environed = Vault(vault.file, vault.identity, {"MAILWRIGHT_SECRET_A": value})
    shown = (FleetSecrets(vault), vault, vault.read(), GivenSecrets({"a": value}), environed)
    assert all(value not in f"{one!r} {one}" for one in shown)


def test_places_follow_the_fleet_file(tmp_path: Path):
    environ = {"XDG_CONFIG_HOME": "/home/ops/.config"}
    vault = locate(FLEET, tmp_path / "prod.yaml", environ)
    assert vault.file == tmp_path / "prod.secrets.age"
    assert vault.identity == Path("/home/ops/.config/mailwright/identity")
    said = FLEET.model_copy(
        update={"secrets": FLEET.secrets.model_copy(update={"file": "a.age", "identity": "/id"})}
    )
    vault = locate(said, tmp_path / "prod.yaml", environ)
    assert (vault.file, vault.identity) == (tmp_path / "a.age", Path("/id"))


def test_the_password_hash_is_stable_right_and_tells_logins_apart():
    first = password_hash("letter", "correct horse battery", "salt")
    password_hash.cache_clear()
    assert first == password_hash("letter", "correct horse battery", "salt")
    assert first.startswith("{BLF-CRYPT}$2y$08$")
    hashed = first.removeprefix("{BLF-CRYPT}").encode()
    assert bcrypt.checkpw(b"correct horse battery", hashed)
    assert not bcrypt.checkpw(b"correct horse batterz", hashed)
    of_shop = password_hash("shop", "correct horse battery", "salt")
    with_other_salt = password_hash("letter", "correct horse battery", "x")
    assert len({first, of_shop, with_other_salt}) == 3


@pytest.mark.parametrize("password", ["short", "x" * 73, "zero\0zero\0zero"])
def test_a_password_that_hashing_would_weaken_is_refused_unseen(password: str):
    with pytest.raises(SecretError) as caught:
        password_hash("letter", password, "salt")
    assert password not in str(caught.value)
