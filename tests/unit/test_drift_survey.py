"""What the survey makes of what programs print: their own output in, lines of a survey out."""

import os
import subprocess

import pytest

from mailwright.drift import ask, survey
from mailwright.model.needs import Needs, Port, Unit

RULES = """\
table inet mailwright {
@chain input {
@@type filter hook input priority filter; policy drop;
@@tcp dport { 25, 587 } accept
@@ip saddr { 198.51.100.1, 198.51.100.2,
@@@ 198.51.100.3 } tcp dport 22 accept
@}
}
table ip other {
@chain x {
@}
}
""".replace("@", "\t")
SOCKETS = """\
tcp   LISTEN 0 128       0.0.0.0:22        0.0.0.0:*  users:(("sshd",pid=1,fd=3),("systemd",pid=1,fd=4))
tcp   LISTEN 0 128 [fe80::1]%host0:25         [::]:*  users:(("smtpd",pid=30,fd=3),("master",pid=2,fd=3))
udp   UNCONN 0 0       127.0.0.1:53        0.0.0.0:*  users:(("unbound",pid=4,fd=3))
udp   UNCONN 0 0         0.0.0.0:40123     0.0.0.0:*  users:(("unbound",pid=4,fd=9))
udp   UNCONN 0 0     192.0.2.2%host0:68    0.0.0.0:*  users:(("dhclient",pid=5,fd=9))
"""
SHOWN = """\
Id=a.service
Type=notify
RemainAfterExit=no
ActiveState=reloading
ConditionResult=yes

Id=b.service
Type=oneshot
RemainAfterExit=no
ActiveState=inactive
ConditionResult=yes

Id=c.service
Type=simple
RemainAfterExit=no
ActiveState=failed
ConditionResult=yes

Id=d.service
Type=simple
RemainAfterExit=no
ActiveState=inactive
ConditionResult=no
"""
ADDRESSES = """\
2: host0    inet 198.51.100.41/24 brd 198.51.100.255 scope global host0\\       valid_lft forever
2: host0    inet 198.51.100.100/32 scope global host0\\       valid_lft forever
2: host0    inet6 2001:db8::1/64 scope global dynamic mngtmpaddr \\       valid_lft 86000sec
"""


@pytest.fixture
def lines(tmp_path):
    """Returns a function: shell text of the survey, and what programs print, to its lines."""

    def run(text, **programs):
        for name, output in programs.items():
            (tmp_path / f"{name}.out").write_text(output)
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\ncase \"$*\" in {'*show*' if name == 'systemctl' else '*'})"
                               f" cat {tmp_path}/{name}.out ;; esac\n")  # fmt: skip
            program.chmod(0o755)
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        text = f"exec 8>&1\n{survey._SAID}\n{text}"
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True, env=env)
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

    return run


def test_a_rule_is_told_with_where_it_stands(lines):
    found = [line for line in lines(survey._FIREWALL, nft=RULES) if line[0] == "rule"]
    where = "table inet mailwright, chain input"
    assert [key for _, key, _ in found] == [
        "table inet mailwright",
        "table inet mailwright: chain input",
        f"{where}: type filter hook input priority filter; policy drop;",
        f"{where}: tcp dport {{ 25, 587 }} accept",
        f"{where}: ip saddr {{ 198.51.100.1, 198.51.100.2,",
        f"{where}: 198.51.100.3 }} tcp dport 22 accept",
        "table ip other",
        "table ip other: chain x",
    ]


def test_the_order_of_rules_counts(lines):
    one = lines(survey._FIREWALL, nft="a\nb\n")[-1]
    other = lines(survey._FIREWALL, nft="b\na\n")[-1]
    assert (one[0], one[1], one != other) == ("order", "ruleset", True)


def test_a_socket_is_told_with_its_program_and_passing_ones_not_at_all(lines):
    found = [line for line in lines(survey._NETWORK, ss=SOCKETS, ip="") if line[0] == "port"]
    assert found == [
        ("port", "tcp 0.0.0.0:22", "sshd"),
        ("port", "tcp [fe80::1]:25", "master"),
        ("port", "udp 127.0.0.1:53", "unbound"),
    ]


def test_a_default_route_is_told_without_what_expires(lines):
    route = "default via 192.0.2.1 dev host0 proto ra metric 1024 expires 1790sec pref medium\n"
    found = [line for line in lines(survey._NETWORK, ss="", ip=route) if line[0] == "route"]
    assert set(found) == {("route", "IPv4 default", "192.0.2.1 host0")}


def test_addresses_that_move_are_left_out(lines):
    needs = Needs(ports=(Port(25, "tcp", "public", "a test", at=("198.51.100.100",)),))
    assert lines(survey._addresses(needs), ip=ADDRESSES) == [("address", "host0 198.51.100.41/24", "")]


def test_a_unit_runs_or_not_and_what_comes_and_goes_is_left_out(lines):
    needs = Needs(units=tuple(Unit(f"{name}.service") for name in "abcd"))
    found = [line for line in lines(survey._units(needs), systemctl=SHOWN) if line[0] == "running"]
    assert found == [("running", "a.service", "active"), ("running", "c.service", "failed")]


def test_a_program_that_fails_does_not_look_like_nothing(lines, tmp_path):
    text = f"{survey._units(Needs())}\n{survey._PACKAGES}\n{survey._FIREWALL}\n{survey._NETWORK}"
    for name in ("systemctl", "dpkg-query", "nft", "ss", "ip"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    told = {line[1] for line in lines(text) if line[0] == "failed"}
    assert told == {"unit", "timer", "transient", "package", "rule", "order", "port"}


HISTORY = """
Start-Date: 2026-11-20  06:12:01
Commandline: /usr/bin/unattended-upgrade
Install: linux-image-6.1.0-28-amd64:amd64 (6.1.119-1, automatic)
Upgrade: curl:amd64 (7.88.1-1, 7.88.1-2), linux-image-amd64:amd64 (6.1.115-1, 6.1.119-1)
Remove: linux-image-6.1.0-25-amd64:amd64 (6.1.106-3)
End-Date: 2026-11-20  06:13:09

Start-Date: 2026-11-21  10:00:00
Commandline: apt install nmap
Requested-By: ann (1000)
Install: nmap:amd64 (7.93)
End-Date: 2026-11-21  10:00:09
"""


def test_what_unattended_upgrades_did_is_read_from_apts_log(tmp_path):
    (tmp_path / "history.log").write_text(HISTORY)
    asked = ask._UNATTENDED.replace("/var/log/apt", str(tmp_path))
    done = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "unattended linux-image-6.1.0-28-amd64 6.1.119-1",
        "unattended curl 7.88.1-2",
        "unattended linux-image-amd64 6.1.119-1",
        "unattended linux-image-6.1.0-25-amd64 -6.1.106-3",
    ]
