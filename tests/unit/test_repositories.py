"""Pins how a machine and the keeper reach a repository, for each kind of store, with no secret in argv."""

from __future__ import annotations

import shlex
import subprocess
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import ValidationError

from mailwright.model.errors import MailwrightError, NeedsError, SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.load import load_fleet
from mailwright.model.secrets import GivenSecrets
from mailwright.repositories import (
    KEEPER,
    account,
    for_keeper,
    for_machine,
    keeper_secrets,
    machine_secrets,
    packages,
)
from mailwright.sshkeys import public_key, ssh_key

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2e0bHzJsnQCqIkNqAHNYPiNSRhoT8LpsvGcPM1S2Ug"
STORES = {
    "host": {"type": "host", "machine": "vault1"},
    "host-12": {"type": "host", "machine": "vault1"},
    "s3": {"type": "s3", "bucket": "backups", "endpoint": "https://s3.example.net", "region": "eu-1"},
    "sftp": {"type": "sftp", "host": "files.example.net", "port": 23, "host_keys": [HOST_KEY]},
}


@pytest.fixture
def fleet_of():
    """Returns a function: a kind of store, and what is different about it, to a fleet."""

    def fleet(kind, **different):
        machines = [
            {"name": "out1", "fqdn": "out1.brightpost.example", "ipv4": "203.0.113.11", "roles": {}},
            {
                "name": "vault1",
                "fqdn": "vault1.brightpost.example",
                "ipv4": "203.0.113.61",
                "debian": 12 if kind == "host-12" else 13,
                "roles": {},
            },
        ]
        owner = {"name": "Bright Post", "postmaster": "postmaster@brightpost.example"}
        backup = {"store": STORES[kind] | different} if kind else {}
        return Fleet.model_validate({"owner": owner, "backup": backup, "machines": machines})

    return fleet


@pytest.fixture
def secrets_of():
    """Returns a function: a fleet to every secret that the two roles say they read, and no other."""

    def secrets(fleet):
        wanted = {**machine_secrets(fleet, "out1"), **keeper_secrets(fleet)}
        return GivenSecrets({n: w.make() if w.make else f"given-{n}" for n, w in wanted.items()})

    return secrets


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("who", [for_machine, for_keeper])
def test_the_declared_secrets_are_enough_and_none_is_an_argument_or_a_variable(
    kind, who, fleet_of, secrets_of
):
    fleet = fleet_of(kind)
    secrets = secrets_of(fleet)
    found = who(fleet, "out1", secrets)
    shown = repr(found) + " ".join((*found.options, *found.environment.values()))
    for name in secrets.names():
        assert secrets.get(name).strip() not in shown
    for file in found.files:
        readable = file.mode & 0o007 or not file.secret
        assert not any(
            readable and secrets.get(name).strip().encode() in file.content for name in secrets.names()
        )


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("who", [for_machine, for_keeper])
def test_every_file_that_is_named_is_given(kind, who, fleet_of, secrets_of):
    fleet = fleet_of(kind)
    found = who(fleet, "out1", secrets_of(fleet), "/etc/somewhere")
    words = [word for option in found.options for word in shlex.split(option)]
    named = {w.split("=")[-1] for w in (*words, *found.environment.values()) if "/etc/somewhere" in w}
    assert named == {file.path for file in found.files}


def test_a_machine_tells_its_rest_server_its_own_name_and_password(fleet_of, secrets_of):
    fleet = fleet_of("host")
    secrets = secrets_of(fleet)
    found = for_machine(fleet, "out1", secrets)
    password = secrets.get("backup/out1/rest")
    assert found.url == f"rest:https://out1:{password}@vault1.brightpost.example:8000/out1/"
    file = next(f for f in found.files if f.path == found.environment["RESTIC_REPOSITORY_FILE"])
    assert file.content.decode().strip() == found.url
    assert (file.mode, file.owner, file.group) == (0o600, "root", "root")


def test_a_password_that_an_operator_chose_is_one_in_the_location_too(fleet_of):
    chosen = {"backup/out1/rest": "p@ss/w#1 %\n", "backup/out1/password": "x"}
    found = for_machine(fleet_of("host"), "out1", GivenSecrets(chosen))
    location = urlsplit(found.url.removeprefix("rest:"))
    assert (location.hostname, location.port) == ("vault1.brightpost.example", 8000)
    assert unquote(location.password) == "p@ss/w#1 %"


@pytest.mark.parametrize("kind", ["host-12", "sftp"])
def test_a_key_ends_as_ssh_wants_it_however_it_was_set(kind, fleet_of, secrets_of):
    fleet = fleet_of(kind)
    secrets = secrets_of(fleet)
    bare = GivenSecrets({name: secrets.get(name).strip() for name in secrets.names()})
    key = next(f for f in for_machine(fleet, "out1", bare).files if f.path.endswith("/ssh"))
    assert key.content.endswith(b"-----END OPENSSH PRIVATE KEY-----\n")


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.example.net:99999",
        "https://s3.example.net:x",
        "https://:9000",
        "https://a:b@s3.example.net",
    ],
)
def test_an_endpoint_that_is_none_is_refused(endpoint, fleet_of):
    with pytest.raises(ValidationError, match="endpoint"):
        fleet_of("s3", endpoint=endpoint)


@pytest.mark.parametrize(
    "different", [{"user": "box", "path": "all"}, {"path": "{name}"}, {"user": "{machine}}"}]
)
def test_machines_that_would_share_a_repository_are_refused(different, fleet_of):
    with pytest.raises(ValidationError, match="machine"):
        fleet_of("sftp", **different)


@pytest.mark.parametrize("kind", ["host", "host-12"])
def test_the_keeper_works_in_the_folder_as_the_machines_account(kind, fleet_of, secrets_of):
    fleet = fleet_of(kind)
    found = for_keeper(fleet, "out1", secrets_of(fleet))
    assert (found.url, found.account, found.options) == ("/srv/backups/out1", account("out1"), ())
    (opens,) = found.files
    assert (opens.group, opens.mode) == (KEEPER, 0o640)


def test_a_store_with_debian_12_is_reached_by_ssh_that_trusts_its_key_alone(fleet_of, secrets_of):
    fleet = fleet_of("host-12")
    secrets = secrets_of(fleet)
    found = for_machine(fleet, "out1", secrets)
    options = dict(option.split("=", 1) for option in found.options[1::2])
    command = shlex.split(options["rclone.program"])
    assert options["rclone.args"] == ""
    assert command[0] == "ssh"
    assert command[-5:] == ["-l", account("out1"), "-p", "8000", "vault1.brightpost.example"]
    assert "StrictHostKeyChecking=yes" in command
    known = next(f for f in found.files if f.path.endswith("/known_hosts"))
    assert known.content.decode() == f"backup-store {public_key(secrets.get('backup-keeper/host-key'))}\n"
    assert packages(fleet) == ("restic", "openssh-client")


@pytest.mark.parametrize(
    ("who", "key"), [(for_machine, "given-backup/out1/s3-key"), (for_keeper, "given-backup-keeper/s3-key")]
)
def test_a_bucket_has_a_folder_for_each_machine_and_two_users(who, key, fleet_of, secrets_of):
    fleet = fleet_of("s3")
    found = who(fleet, "out1", secrets_of(fleet))
    assert found.environment["RESTIC_REPOSITORY"] == "s3:https://s3.example.net/backups/out1"
    assert "s3.region=eu-1" in found.options
    file = next(f for f in found.files if f.path == found.environment["AWS_SHARED_CREDENTIALS_FILE"])
    assert key in file.content.decode()


@pytest.mark.parametrize(
    ("different", "url", "login"),
    [
        ({}, "sftp:out1@backup-store:out1", "out1"),
        ({"user": "{machine}"}, "sftp:out1@backup-store:out1", "out1"),
        ({"user": "box", "path": "/srv/{machine}"}, "sftp:box@backup-store:/srv/out1", "box"),
        ({"user": "box-{machine}", "path": "backup"}, "sftp:box-out1@backup-store:backup", "box-out1"),
    ],
)
def test_an_sftp_account_and_its_folder_follow_the_machine(different, url, login, fleet_of, secrets_of):
    fleet = fleet_of("sftp", **different)
    for who in (for_machine, for_keeper):
        found = who(fleet, "out1", secrets_of(fleet))
        assert found.environment["RESTIC_REPOSITORY"] == url
        command = shlex.split(next(o for o in found.options if o.startswith("sftp.command=")))
        assert command[-7:] == ["-l", login, "-p", "23", "files.example.net", "-s", "sftp"]


def test_an_ssh_key_is_of_whoever_uses_it_and_readable_by_nobody_else(fleet_of, secrets_of):
    fleet = fleet_of("sftp")
    for who, owner in ((for_machine, "root"), (for_keeper, KEEPER)):
        key = next(f for f in who(fleet, "out1", secrets_of(fleet)).files if f.path.endswith("/ssh"))
        assert (key.owner, key.mode) == (owner, 0o600)


def test_the_stores_authority_is_trusted_from_a_file_that_goes_along(tmp_path, fleet_of, secrets_of, ca_pem):
    (tmp_path / "ca.pem").write_bytes(ca_pem)
    for kind, who in (("host", for_machine), ("s3", for_machine), ("s3", for_keeper)):
        fleet = fleet_of(kind, ca=str(tmp_path / "ca.pem"))
        found = who(fleet, "out1", secrets_of(fleet), "/etc/x")
        assert found.options[-2:] == ("--cacert", "/etc/x/ca.pem")
        assert next(f for f in found.files if f.path == "/etc/x/ca.pem").content == ca_pem


def test_an_authority_that_is_none_is_one_line(tmp_path, fleet_of, secrets_of):
    (tmp_path / "ca.pem").write_text("nothing\n")
    fleet = fleet_of("host", ca=str(tmp_path / "ca.pem"))
    with pytest.raises(MailwrightError, match=r"backup\.store\.ca: .*ca\.pem is no PEM certificate"):
        for_machine(fleet, "out1", secrets_of(fleet))


def test_the_authority_lies_beside_the_fleet_file(tmp_path):
    file = tmp_path / "prod.yaml"
    file.write_text(
        "owner: { name: Bright Post, postmaster: postmaster@brightpost.example }\n"
        "backup: { store: { type: host, machine: vault1, ca: own/ca.pem } }\n"
        "machines:\n"
        "  - { name: vault1, fqdn: v.brightpost.example, ipv4: 203.0.113.61, roles: { backup_store: {} } }\n"
    )
    assert load_fleet(file).backup.store.ca == str(tmp_path / "own/ca.pem")


def test_a_key_that_is_none_is_said_before_anything_is_touched(fleet_of):
    fleet = fleet_of("sftp")
    secrets = GivenSecrets({"backup/out1/password": "x", "backup/out1/ssh": "no key\n"})
    with pytest.raises(SecretError, match="no OpenSSH private key"):
        for_machine(fleet, "out1", secrets)


def test_without_a_store_nothing_is_asked_and_nobody_reached(fleet_of):
    fleet = fleet_of("")
    assert not machine_secrets(fleet, "out1")
    assert not keeper_secrets(fleet)
    with pytest.raises(NeedsError, match=r"backup\.store"):
        for_machine(fleet, "out1", GivenSecrets({}))


def test_accounts_are_short_enough_and_different_for_different_machines():
    long = ["a" * 30 + end for end in "bc"]
    assert account("out1") == "backup-out1"
    assert len({account(name) for name in long}) == 2
    assert all(len(account(name)) <= 31 for name in long)


def test_the_public_half_is_the_one_that_ssh_keygen_says(tmp_path):
    key = ssh_key()
    (tmp_path / "key").write_text(key)
    (tmp_path / "key").chmod(0o600)
    said = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "key"], check=True, capture_output=True, text=True
    )
    assert public_key(key) == " ".join(said.stdout.split()[:2])


@pytest.fixture(scope="module")
def ca_pem():
    """A certificate of an authority, PEM."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null"
    made = subprocess.run([*command.split(), "-subj", "/CN=authority"], check=True, capture_output=True)
    return made.stdout
