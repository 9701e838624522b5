"""Declared ports against listening sockets."""

from ipaddress import ip_address

import pytest

from mailwright.model.needs import Port
from mailwright.verify import sockets

BOTH = (ip_address("198.51.100.11"), ip_address("2001:db8:100::11"))

# As ss 6.1 (Debian 12) and 6.15 (Debian 13) print them.
SS = """\
udp   UNCONN 0      0          127.0.0.1:323       0.0.0.0:*    users:(("chronyd",pid=88,fd=5))
udp   UNCONN 0      0      127.0.0.53%lo:53        0.0.0.0:*    users:(("systemd-resolve",pid=7,fd=13))
udp   UNCONN 0      0   [fe80::1]%host0:546          [::]:*    users:(("systemd-network",pid=9,fd=2))
tcp   LISTEN 0      100          0.0.0.0:25   0.0.0.0:*    users:(("master",pid=3,fd=13),("smtpd",pid=4,fd=6))
tcp   LISTEN 0      100             [::]:25           [::]:*
tcp   LISTEN 0      128                *:22              *:*    users:(("sshd",pid=1,fd=3))
tcp   LISTEN 0      128 [::ffff:127.0.0.1]:8080           *:*
"""


def listening(text):
    return sockets.parse("\n".join(f"{line} 0.0.0.0:*" for line in text.splitlines()))


def tcp(number, audience="public"):
    return Port(number, "tcp", audience, "a service")


def test_reads_what_ss_prints():
    assert sorted(map(str, sockets.parse(SS))) == [
        "tcp *:22 (sshd)",
        "tcp 0.0.0.0:25 (master)",
        "tcp 127.0.0.1:8080",
        "tcp [::]:25",
        "udp 127.0.0.1:323 (chronyd)",
        "udp 127.0.0.53:53 (systemd-resolve)",
        "udp [fe80::1]:546 (systemd-network)",
    ]


def test_an_unread_line_is_not_silently_no_socket():
    with pytest.raises(ValueError, match="not a line of ss: Cannot open netlink"):
        sockets.parse("Cannot open netlink socket: Protocol not supported")


@pytest.mark.parametrize("text", ["tcp LISTEN 0 1 *:25", "tcp LISTEN 0 1 0.0.0.0:25\ntcp LISTEN 0 1 [::]:25"])
def test_a_public_port_is_served_on_every_address(text):
    assert sockets.closed(tcp(25), listening(text), BOTH) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tcp LISTEN 0 1 *:587", "nothing listens"),
        ("udp UNCONN 0 0 *:25", "nothing listens"),
        ("tcp LISTEN 0 1 0.0.0.0:25", "nothing listens on 2001:db8:100::11; only tcp 0.0.0.0:25"),
        (
            "tcp LISTEN 0 1 127.0.0.1:25",
            "nothing listens on 198.51.100.11, 2001:db8:100::11; only tcp 127.0.0.1:25",
        ),
        ("tcp LISTEN 0 1 198.51.100.11:25", "nothing listens on 2001:db8:100::11; only tcp 198.51.100.11:25"),
    ],
)
def test_a_public_port_that_somebody_cannot_reach_is_told(text, found):
    assert sockets.closed(tcp(25), listening(text), BOTH) == found


def test_a_local_port_is_served_on_loopback():
    port = tcp(953, "local")
    assert sockets.closed(port, listening("tcp LISTEN 0 1 127.0.0.1:953"), BOTH) is None
    assert sockets.closed(port, listening("tcp LISTEN 0 1 [::1]:953"), BOTH) is None
    assert (
        sockets.closed(port, listening("tcp LISTEN 0 1 198.51.100.11:953"), BOTH) == "tcp 198.51.100.11:953"
    )


def strange(ports, before, after):
    return list(map(str, sockets.undeclared(ports, listening(before), listening(after))))


def test_what_nobody_declared_is_strange():
    text = "tcp LISTEN 0 1 *:22\ntcp LISTEN 0 1 0.0.0.0:8080\ntcp LISTEN 0 1 127.0.0.1:6010"
    assert strange([tcp(22)], text, text) == ["tcp 0.0.0.0:8080", "tcp 127.0.0.1:6010"]


def test_a_local_port_open_to_others_is_strange_unless_another_role_opens_it():
    text = "tcp LISTEN 0 1 0.0.0.0:25\ntcp LISTEN 0 1 127.0.0.1:25"
    assert strange([tcp(25, "local")], text, text) == ["tcp 0.0.0.0:25"]
    assert strange([tcp(25, "local"), tcp(25)], text, text) == []


def test_a_question_in_flight_is_no_listener():
    before, after = "udp UNCONN 0 0 0.0.0.0:4711", "udp UNCONN 0 0 0.0.0.0:4712\nudp UNCONN 0 0 0.0.0.0:5353"
    assert strange([], before, after) == []
    assert strange([], after, after) == ["udp 0.0.0.0:4712", "udp 0.0.0.0:5353"]


def test_the_machines_own_dhcp_client_is_no_listener_of_ours():
    text = "udp UNCONN 0 0 0.0.0.0:68\nudp UNCONN 0 0 [fe80::1]%eth0:546"
    assert strange([], text, text) == []
    assert strange([], text.replace("udp", "tcp"), text.replace("udp", "tcp")) != []


def test_a_port_for_some_addresses_is_at_no_others():
    """A balancer's, at the virtual address: a wildcard would serve it at its own addresses, too."""
    virtual = Port(587, "tcp", "public", "pool", at=("203.0.113.100",))
    right = sockets.parse("tcp LISTEN 0 1 203.0.113.100:587 0.0.0.0:*")
    wild = sockets.parse("tcp LISTEN 0 1 0.0.0.0:587 0.0.0.0:*")
    assert sockets.undeclared([virtual], right, right) == []
    assert [str(x) for x in sockets.undeclared([virtual], wild, wild)] == ["tcp 0.0.0.0:587"]
    everywhere = Port(587, "tcp", "public", "submission")
    assert sockets.undeclared([virtual, everywhere], wild, wild) == []
