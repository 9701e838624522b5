"""A fleet written elsewhere is the same fleet but for the edit, and reaches the same files."""

import pytest

from mailwright.elsewhere import derived
from mailwright.model.errors import FleetError, MailwrightError
from mailwright.model.keyring import keyring_file, read_keyring
from mailwright.model.load import load_fleet
from mailwright.model.secrets_store import locate

FILE = """\
owner: { name: Bright Post "über alles", postmaster: postmaster@mailbox.example }
secrets: { identity: keys/identity }
acme: { ca: ca.pem }
backup:
  store: { type: host, machine: vault1, ca: /etc/authority.pem }
defaults:
  ssh: { key: ~/.ssh/fleet, known_hosts: hosts/known }
machines:
  - name: out1
    fqdn: out1.brightpost.example
    ipv4: 192.0.2.11
    roles: &sending { postfix: { accept: ["@brightpost.example"] }, unbound: { trust_anchors: anchors } }
  - name: out2
    fqdn: out2.brightpost.example
    ipv4: 192.0.2.12
    ssh: { key: other, port: 2222 }
    roles: *sending
  - name: vault1
    fqdn: vault1.brightpost.example
    ipv6: "2001:db8::1"
    roles: { backup_store: {} }
"""
KEYRING = """\
format: 1
domains:
  brightpost.example:
    - { selector: "r2026", algorithm: rsa, state: signing, since: 2026-01-01T00:00:00Z }
"""


@pytest.fixture
def prod(tmp_path):
    file = tmp_path / "fleet" / "prod.yaml"
    file.parent.mkdir()
    file.write_text(FILE)
    return file


def nothing(_data):
    """An edit that leaves everything as it is."""


def test_without_an_edit_it_is_the_same_fleet(prod, tmp_path):
    before, after = load_fleet(prod), load_fleet(derived(prod, tmp_path / "new", nothing))
    assert after.machines == before.machines
    assert after.acme == before.acme
    assert after.owner == before.owner


def test_files_of_the_operator_are_still_found(prod, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ops")
    new = derived(prod, tmp_path / "new", nothing)
    fleet, folder = load_fleet(new), prod.parent
    assert fleet.machine("out1").ssh.key == "/home/ops/.ssh/fleet"
    assert fleet.machine("out2").ssh.key == str(folder / "other")
    assert fleet.machine("out2").ssh.known_hosts == str(folder / "hosts/known")
    assert fleet.acme.ca == str(folder / "ca.pem")
    assert fleet.backup.store.ca == "/etc/authority.pem"
    vault, first = locate(fleet, new, {}), locate(load_fleet(prod), prod, {})
    assert (vault.file, vault.identity) == (first.file, first.identity)


def test_host_keys_that_are_pinned_beside_the_file_stay_so(prod, tmp_path):
    prod.write_text(FILE.replace(", known_hosts: hosts/known", ""))
    pinned = prod.with_suffix(".known_hosts")
    pinned.touch()
    fleet = load_fleet(derived(prod, tmp_path / "new", nothing))
    assert fleet.machine("out1").ssh.known_hosts == str(pinned)


def test_an_edit_of_one_machine_is_none_of_another_that_an_alias_made_equal(prod, tmp_path):
    def edit(data):
        data["machines"][0]["roles"]["postfix"]["accept"] = []
        data["machines"][0]["ssh"] = {"address": "198.51.100.9"}

    fleet = load_fleet(derived(prod, tmp_path / "new", edit))
    assert fleet.machine("out1").roles["postfix"] == {"accept": []}
    assert fleet.machine("out1").ssh_address == "198.51.100.9"
    assert fleet.machine("out2").roles["postfix"] == {"accept": ["@brightpost.example"]}


def test_an_edit_may_lead_to_other_files(prod, tmp_path):
    def edit(data):
        data["secrets"]["file"] = "/srv/other.age"

    new = derived(prod, tmp_path / "new", edit)
    assert str(locate(load_fleet(new), new, {}).file) == "/srv/other.age"


def test_keys_of_a_rotation_come_along_and_go_again(prod, tmp_path):
    keyring_file(prod).write_text(KEYRING)
    new = derived(prod, tmp_path / "new", nothing)
    assert read_keyring(keyring_file(new)) == read_keyring(keyring_file(prod))
    keyring_file(prod).unlink()
    derived(prod, tmp_path / "new", nothing)
    assert not keyring_file(new).exists()


def test_pyinfra_finds_its_inventory_beside_it(prod, tmp_path):
    assert "groups(__file__" in derived(prod, tmp_path / "new", nothing).with_suffix(".py").read_text()


def test_the_fleet_file_itself_is_never_written_over(prod):
    with pytest.raises(MailwrightError, match="has the fleet file itself"):
        derived(prod, prod.parent, nothing)
    assert prod.read_text() == FILE


def test_a_fleet_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(FleetError, match=r"prod.yaml:1: no such file"):
        derived(tmp_path / "prod.py", tmp_path / "new", nothing)
