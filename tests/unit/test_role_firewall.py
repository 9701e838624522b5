"""Pins which packets the ruleset admits, by its text; the lab proves what the kernel makes of it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from mailwright.model.errors import NeedsError
from mailwright.model.needs import Needs, Port, Reach
from roles import firewall

MAIL = Port(25, "tcp", "public", "mail")


@pytest.fixture
def rules(plan_of, content_of):
    """Returns a function: ports, settings and fleet to the input and output rules, comments left out."""

    def lines(*ports, settings=None, reaches=(), **fleet):
        plan = plan_of(
            firewall.ROLE,
            needs=Needs(ports=ports, reaches=reaches),
            settings={"firewall": settings or {}},
            **fleet,
        )
        text = content_of(plan, firewall.RULES)
        _accepted_by_nft(text)
        return [
            line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")
        ]

    return lines


def _accepted_by_nft(text):
    if shutil.which("nft") and shutil.which("unshare"):
        command = ["unshare", "--net", "--map-root-user", "nft", "--check", "--file", "-"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_public_ports_are_open_to_anyone(rules):
    assert "tcp dport { 25, 587 } accept" in rules(Port(587, "tcp", "public", "submission"), MAIL)


def test_what_nobody_declares_is_closed(rules):
    text = rules()
    assert "type filter hook input priority filter; policy drop;" in text
    assert "type filter hook forward priority filter; policy drop;" in text
    assert not [line for line in text if "dport" in line and "22" not in line and "546" not in line]


def test_fleet_ports_are_open_to_every_machine_of_the_fleet(rules):
    other = {"name": "m2", "fqdn": "m2.brightpost.example", "ipv4": "203.0.113.12"}
    text = rules(Port(9100, "tcp", "fleet", "metrics"), machines=[other])
    assert "ip saddr { 203.0.113.11-203.0.113.12 } tcp dport { 9100 } accept" in text
    assert "ip6 saddr { 2001:db8::11/128 } tcp dport { 9100 } accept" in text
    assert "tcp dport { 9100 } accept" not in text


def test_local_ports_are_not_opened(rules):
    assert not [line for line in rules(Port(53, "udp", "local", "DNS")) if "dport { 53" in line]


def test_a_named_network_reaches_its_ports_only(rules):
    text = rules(Port(9100, "tcp", "watch", "metrics"), networks={"watch": ["203.0.113.96/28"]})
    assert "ip saddr { 203.0.113.96/28 } tcp dport { 9100 } accept" in text


def test_a_network_that_the_fleet_file_does_not_name_is_a_mistake(rules):
    with pytest.raises(NeedsError, match="`networks` has no 'watch'"):
        rules(Port(9100, "tcp", "watch", "metrics"))


def test_networks_that_overlap_are_joined_because_nft_refuses_them(rules):
    text = rules(networks={"admin": ["203.0.113.0/25", "203.0.113.7/32", "203.0.113.128/25"]})
    assert "ip saddr { 203.0.113.0/24 } tcp dport { 22 } accept" in text


def test_ssh_is_always_in_where_the_operator_connects(rules):
    text = rules(machine={"ssh": {"port": 2222}}, networks={"admin": ["203.0.113.1/32"]})
    assert "ip saddr { 203.0.113.1/32 } tcp dport { 2222 } accept" in text
    assert "tcp dport 2222 accept" not in text


def test_ssh_without_admin_networks_is_open_and_rate_limited(rules):
    text = rules(settings={"ssh_rate": 7})
    limits = [line for line in text if "limit rate over 7/minute" in line]
    assert [line.split("{")[1].split(" limit")[0].strip() for line in limits] == [
        "ip saddr",
        "ip6 saddr & ffff:ffff:ffff:ffff::",
    ]
    assert text.index("tcp dport 22 accept") > max(map(text.index, limits))


def test_other_admin_ports_stay_closed_without_admin_networks(rules):
    assert not [line for line in rules(Port(8404, "tcp", "admin", "statistics")) if "8404" in line]


def test_vrrp_is_matched_by_number(rules):
    assert "ip saddr { 203.0.113.11/32 } meta l4proto 112 accept" in rules(Port(112, "vrrp", "fleet", "pair"))


def test_packets_without_syn_are_not_dropped_as_new(rules):
    assert not [line for line in rules(MAIL) if "tcp flags" in line]


def test_outbound_ports_can_be_kept_for_accounts(rules):
    text = rules(settings={"outbound": {25: ["mail", "root"]}})
    assert 'oifname != "lo" tcp dport 25 meta skuid != { "mail", "root" } reject with tcp reset' in text


def test_the_table_is_exchanged_and_others_are_left_alone(rules):
    text = rules()
    assert text[:2] == ["table inet mailwright", "delete table inet mailwright"]
    assert not [line for line in text if "flush ruleset" in line]


CLOSED = {"machine": {"closed": True}, "networks": {"admin": ["203.0.113.1/32"]}}


def test_a_closed_machine_lets_in_the_operator_and_nobody_else(rules):
    vrrp = Port(0, "vrrp", "fleet", "who holds the addresses")
    text = rules(MAIL, vrrp, Port(9100, "tcp", "fleet", "metrics"), **CLOSED)
    assert "ip saddr { 203.0.113.1/32 } tcp dport { 22 } accept" in text
    assert not [line for line in text if "dport { 25" in line or "9100" in line or "112" in line]


def test_a_closed_machine_reaches_what_putting_it_together_takes(rules):
    reaches = (Reach(53, "udp", "DNS"), Reach(8000, "tcp", "backups"))
    text = rules(reaches=reaches, settings={"closed_outbound": [3144]}, **CLOSED)
    output = text[text.index("chain output {") :]
    assert "type filter hook output priority filter; policy drop;" in output
    accepted = {line for line in output if line.endswith("accept") and "dport" in line}
    assert accepted == {"udp dport 53 accept", "tcp dport 3144 accept", "tcp dport 8000 accept"}
    assert "ct state established,related accept" in output


def test_an_open_machine_reaches_whatever_it_likes(rules):
    assert "chain output {" not in rules(reaches=(Reach(53, "udp", "DNS"),))
