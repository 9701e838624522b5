"""From the fleet file to pyinfra's groups and SSH settings."""

from __future__ import annotations

import socket

import pytest
from pyinfra.api import Inventory

from mailwright.converge import inventory
from mailwright.model.role import Role, Settings

FLEET = """\
owner: {name: Test, postmaster: postmaster@mailbox.example}
networks: {admin: [203.0.113.1/32]}
machines:
  - {name: out-1, fqdn: out-1.mailbox.example, debian: 12, ipv4: 203.0.113.11,
     labels: [high-volume], roles: {mail: {}},
     ssh: {user: deploy, port: 2222, key: keys/id, known_hosts: known_hosts}}
  - {name: mx1, fqdn: mx1.mailbox.example, debian: 13, ipv6: "2001:db8::1", roles: {mail: {}, web_mail: {}}}
"""
ROLES = tuple(Role(name, Settings, apply=lambda _: None, after=()) for name in ("mail", "web_mail"))


@pytest.fixture
def groups(tmp_path):
    (tmp_path / "lab.yaml").write_text(FLEET)
    return inventory.groups(str(tmp_path / "lab.py"), ROLES)


def names(group):
    return [name for name, _ in group]


def test_machines_are_grouped_by_role_label_and_release(groups):
    assert {group: names(hosts) for group, hosts in groups.items()} == {
        "all": ["out-1", "mx1"],
        "mail": ["out-1", "mx1"],
        "web_mail": ["mx1"],
        "high-volume": ["out-1"],
        "high_volume": ["out-1"],
        "debian_12": ["out-1"],
        "debian_13": ["mx1"],
    }


def test_pyinfra_takes_them(groups):
    everybody = groups.pop("all")
    inventory_ = Inventory((everybody, {}), **{name: (hosts, {}) for name, hosts in groups.items()})
    assert [h.name for h in inventory_.get_group("high-volume")] == ["out-1"]


def test_ssh_is_as_the_fleet_says(groups, tmp_path):
    data = dict(groups["all"])["out-1"]
    assert data["ssh_hostname"] == "203.0.113.11"
    assert (data["ssh_user"], data["ssh_port"], data["_sudo"]) == ("deploy", 2222, True)
    assert data["ssh_key"] == str(tmp_path / "keys/id")
    assert data["ssh_known_hosts_file"] == str(tmp_path / "known_hosts")
    assert data["ssh_strict_host_key_checking"] == "yes"


def test_root_needs_no_sudo_and_unknown_keys_follow_the_operator(groups):
    data = dict(groups["all"])["mx1"]
    assert "_sudo" not in data
    assert "ssh_strict_host_key_checking" not in data
    assert data["ssh_hostname"] == "2001:db8::1"


def test_a_mistake_is_its_own_line_without_the_line_of_our_source(tmp_path):
    """pyinfra shows where an error was raised if it has a traceback, however that came to be there."""
    (tmp_path / "lab.yaml").write_text(FLEET.replace("203.0.113.11", "10.0.0.999"))
    with pytest.raises(inventory.InventoryError) as e:
        inventory.groups(str(tmp_path / "lab.py"), ROLES)
    e.value.__traceback__ = e.tb
    assert e.value.__traceback__ is None
    assert str(e.value).endswith("lab.yaml:4: machines[0].ipv4: not an IPv4 address: 10.0.0.999")


def test_the_socket_does_not_wait_for_acknowledgements():
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        inventory.without_delay(sock, gss_kex=False, gss_deleg_creds=True, disabled_algorithms=None)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_proxy_s_channel_is_taken_as_it_is():
    one, other = socket.socketpair()
    with one, other:
        inventory.without_delay(one).close()
