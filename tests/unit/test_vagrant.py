"""The section `vagrant` of a fleet file, and what vagrant/Vagrantfile makes of it.

What needs Ruby or Vagrant is skipped where there is none; `make vagrant` installs both and runs this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mailwright import hostkeys
from mailwright.hostkeys import HostKey
from mailwright.model.errors import FleetError
from mailwright.model.load import load_fleet

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "inventory" / "vagrant.yaml"
# What Vagrant itself brings.
RUBY = "module Vagrant; module Errors; class VagrantError < StandardError; end; end; end\n"
KEY = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f")

vagrant = pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is not installed: make vagrant")


@pytest.fixture
def ruby():
    program = shutil.which("ruby")
    if program is None:
        pytest.skip("ruby is not installed: make vagrant")

    def run(text):
        said = subprocess.run(
            [program, "-I", ROOT / "vagrant", "-e", RUBY + text], capture_output=True, text=True, check=True
        )
        return said.stdout

    return run


@pytest.fixture
def changed(tmp_path):
    """The fleet file with a part exchanged, in a folder of its own."""

    def change(old, new):
        text = FLEET.read_text()
        assert old in text
        file = tmp_path / "vagrant.yaml"
        file.write_text(text.replace(old, new, 1))
        return file

    return change


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "ipv4: 198.18.27.11",
            "ipv4: 203.0.113.11",
            "machines[0].ipv4: outside vagrant.ipv4, which is 198.18.27.0/24: 203.0.113.11",
        ),
        (
            "ipv6: 2001:db8:27::21",
            "ipv6: 2001:db8:28::21",
            "machines[1].ipv6: outside vagrant.ipv6, which is 2001:db8:27::/64: 2001:db8:28::21",
        ),
        (
            "ipv6: 2001:db8:27::11",
            "ipv6: 2001:db8:27::1",
            "machines[0].ipv6: the computer that runs Vagrant has this address: 2001:db8:27::1",
        ),
        ("    ipv4: 198.18.27.21\n", "", "machines[1]: a virtual machine needs an IPv4 address"),
        ("debian-12: bento/debian-12, ", "", "vagrant.boxes: no box for Debian 12, which mx1 runs"),
        ("memory: 768", "memory: 64", "machines[1].memory: must be at least 256: 64"),
    ],
)
def test_a_mistake_in_what_vagrant_reads_is_one_line_with_its_place(changed, old, new, said):
    file = changed(old, new)
    with pytest.raises(FleetError) as caught:
        load_fleet(file)
    assert [line.split(": ", 1)[1] for line in str(caught.value).splitlines()] == [said]


def test_ruby_reads_of_the_fleet_file_what_mailwright_reads(ruby, changed):
    file = changed("    debian: 13\n", "")  # a default, which both must know
    said = ruby(f"""
    require "fleet"; require "json"
    fleet = Mailwright::Fleet.read("{file}")
    machines = fleet.machines.map {{ |machine| machine.to_h.merge(mac: machine.mac) }}
    puts JSON.dump([fleet.netmask, fleet.controller("ipv4"), fleet.controller("ipv6"), machines])
    """)
    netmask, ipv4, ipv6, machines = json.loads(said)
    fleet = load_fleet(file)
    section = fleet.vagrant
    assert (netmask, ipv4, ipv6) == (str(section.ipv4.netmask), "198.18.27.1", "2001:db8:27::1")
    assert machines == [
        {
            "name": machine.name,
            "box": section.boxes[f"debian-{machine.debian}"],
            "memory": machine.memory or section.memory,
            "cpus": section.cpus,
            "ipv4": str(machine.ipv4),
            "addresses": [
                f"{machine.ipv4}/{section.ipv4.prefixlen}",
                f"{machine.ipv6}/{section.ipv6.prefixlen}",
            ],
            "mac": "02:00:" + machine.ipv4.packed.hex(":"),
        }
        for machine in fleet.machines
    ]


def test_mailwright_finds_a_machine_where_the_vagrantfile_noted_it(ruby, changed):
    """Up twice, at another port the second time, beside a second machine that is destroyed."""
    file = changed("owner:", "owner:")
    ruby(f"""
    require "fleet"; require "reach"
    Door = Struct.new(:key) {{ def execute(_) yield(:stdout, key); end }}
    One = Struct.new(:name, :ssh_info, :communicate)
    given = {{ host: "127.0.0.1", username: "vagrant", private_key_path: ["/the key"] }}
    at = ->(port) {{ given.merge(port: port) }}
    reach = Mailwright::Reach.new(Mailwright::Fleet.read("{file}"))
    door = Door.new("{KEY.kind} {KEY.blob} root@box\\n")
    reach.note(One.new(:mx1, at.(2200), door))
    reach.note(One.new(:out1, at.(2222), door))
    reach.note(One.new(:out1, at.(2201), door))
    reach.forget(One.new(:mx1, nil, nil))
    """)
    machine = load_fleet(file).machine("out1")
    assert hostkeys.lookup_name(machine) == "[127.0.0.1]:2201"
    assert hostkeys.pinned(machine, hostkeys.file_of(machine, file)) == (KEY,)
    config = Path(machine.ssh.config).read_text()
    assert config.count("Host ") == 1
    assert 'IdentityFile "/the key"' in config
    assert "2222" not in config + Path(machine.ssh.known_hosts).read_text()


def validate(fleet, tmp_path, *options):
    environment = {
        **os.environ,
        "MAILWRIGHT_FLEET": str(fleet),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "VAGRANT_CWD": str(ROOT / "vagrant"),
        "VAGRANT_DOTFILE_PATH": str(tmp_path / "state"),
        "VAGRANT_HOME": str(tmp_path / "home"),
    }
    return subprocess.run(
        ["vagrant", "validate", *options], env=environment, capture_output=True, text=True, check=False
    )


@vagrant
def test_the_vagrantfile_is_valid(tmp_path):
    done = validate(FLEET, tmp_path, "--ignore-provider")
    assert done.returncode == 0, done.stderr


@vagrant
def test_a_fleet_file_without_the_section_is_refused_with_one_sentence(tmp_path):
    done = validate(ROOT / "inventory" / "prod.yaml", tmp_path, "--ignore-provider")
    assert done.returncode != 0
    *_, last = done.stderr.splitlines()
    assert last == f"{ROOT}/inventory/prod.yaml: this fleet has no section `vagrant`; see docs/vagrant.md"
    assert ".rb:" not in done.stderr
