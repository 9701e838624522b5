"""Changes by hand, each found by its own name; what an apply does, never; nothing on a clean fleet."""

import json

import pytest

from tests.lab.debs import Deb
from tests.lab.deploying import UNLOCKED, changes, deploy, mailwright

MINUTES = 2

# Debian 13 and Debian 12, with the same roles.
TWINS = ("out1", "out2")

# No `$`, which systemd would expand.
LISTENER = (
    "systemd-run --quiet --collect --unit=byhand-listener perl -MIO::Socket::INET -e "
    "'@a = (IO::Socket::INET->new(LocalPort => 4711, Listen => 1)) or die; sleep 600'; "
    "until ss -Hltn | grep -q :4711; do systemctl -q is-active byhand-listener || exit 1; sleep 0.1; done"
)
UNIT = "[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n"
# An access list of its own for one user (acl(5) as setxattr(2) takes it).
ACL = (
    "import os, struct; n = 2**32 - 1; all = [(1, 6, n), (2, 4, 1), (4, 4, n), (16, 4, n), (32, 4, n)]; "
    'os.setxattr("/etc/mailname", "system.posix_acl_access", '
    'struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in all))'
)
PING = "nft -a list chain inet mailwright input | sed -n 's/.*icmp type echo-request.* # handle //p'"

# What is done, and the findings that it must lead to: kind and subject. `None`: an apply puts it right;
# else how it is undone by hand.
BY_HAND = {
    "declared file edited": (
        "echo '# by hand' >>/etc/postfix/virtual",
        {("postfix file edited", "/etc/postfix/virtual")},
        None,
    ),
    "owner": ("chown nobody /etc/opendkim", {("directory owner changed", "/etc/opendkim")}, None),
    "group": (
        "chgrp nogroup /etc/postfix/senders",
        {("postfix file group changed", "/etc/postfix/senders")},
        None,
    ),
    "mode": ("chmod 0666 /etc/chrony/chrony.conf", {("file mode changed", "/etc/chrony/chrony.conf")}, None),
    "type": (
        "ln -sf /dev/null /etc/apt/apt.conf.d/20auto-upgrades",
        {("apt setting type changed", "/etc/apt/apt.conf.d/20auto-upgrades")},
        None,
    ),
    "missing file": (
        "rm /etc/apt/apt.conf.d/52mailwright",
        {("apt setting missing", "/etc/apt/apt.conf.d/52mailwright")},
        None,
    ),
    "sysctl on disk": (
        "echo 'vm.swappiness = 7' >/etc/sysctl.d/99-byhand.conf",
        {("sysctl file added", "/etc/sysctl.d/99-byhand.conf")},
        "rm /etc/sysctl.d/99-byhand.conf",
    ),
    "sysctl live": (
        "echo 1 >/proc/sys/net/ipv4/conf/all/send_redirects",
        {("sysctl changed", "net.ipv4.conf.all.send_redirects")},
        None,
    ),
    "drop-in": (
        "cd /etc/systemd/system; mkdir -p chrony.service.d; echo '[Service]' >chrony.service.d/byhand.conf",
        {("unit drop-in added", "/etc/systemd/system/chrony.service.d/byhand.conf")},
        "rm -r /etc/systemd/system/chrony.service.d",
    ),
    "new unit": (
        f"printf '{UNIT}' >/etc/systemd/system/byhand.service; systemctl enable --quiet byhand.service",
        {("unit added", "/etc/systemd/system/byhand.service")},
        "systemctl disable -q byhand.service; rm /etc/systemd/system/byhand.service; systemctl daemon-reload",
    ),
    "masked unit": (
        "systemctl mask --quiet apt-daily.timer",
        {("unit masked", "apt-daily.timer")},
        None,
    ),
    "disabled unit": (
        "systemctl disable --quiet unbound.service",
        {("unit disabled", "unbound.service")},
        None,
    ),
    "stopped unit": (
        "systemctl stop unattended-upgrades.service",
        {("unit stopped", "unattended-upgrades.service")},
        None,
    ),
    "stopped timer": (
        "systemctl stop apt-daily-upgrade.timer",
        {("timer stopped", "apt-daily-upgrade.timer")},
        None,
    ),
    "new timer": (
        "systemd-run --quiet --unit=byhand-timer --on-active=1d /bin/true",
        {("timer started", "byhand-timer.timer")},
        "systemctl stop byhand-timer.timer",
    ),
    "listening port": (
        LISTENER,
        {("listening port opened", "tcp 0.0.0.0:4711"), ("transient unit added", "byhand-listener.service")},
        "systemctl stop byhand-listener.service",
    ),
    "cron job": (
        "mkdir -p /etc/cron.d; echo '* * * * * root true' >/etc/cron.d/byhand",
        {("cron job added", "/etc/cron.d/byhand")},
        "rm /etc/cron.d/byhand",
    ),
    "crontab of root": (
        "mkdir -p /var/spool/cron/crontabs; echo '* * * * * true' >/var/spool/cron/crontabs/root",
        {("crontab added", "/var/spool/cron/crontabs/root")},
        "rm /var/spool/cron/crontabs/root",
    ),
    "repository": (
        "echo 'deb http://archive.example/ stable main' >/etc/apt/sources.list.d/byhand.list",
        {("package source added", "/etc/apt/sources.list.d/byhand.list")},
        "rm /etc/apt/sources.list.d/byhand.list",
    ),
    "pin": (
        "printf 'Package: curl\\nPin: version *\\nPin-Priority: -1\\n' >/etc/apt/preferences.d/byhand",
        {("package pin added", "/etc/apt/preferences.d/byhand")},
        "rm /etc/apt/preferences.d/byhand",
    ),
    "sudo rule": (
        "echo 'games ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/byhand",
        {("sudo rule added", "/etc/sudoers.d/byhand")},
        "rm /etc/sudoers.d/byhand",
    ),
    "sshd snippet": (
        "echo 'Banner /etc/issue.net' >/etc/ssh/sshd_config.d/99-byhand.conf",
        {("SSH file added", "/etc/ssh/sshd_config.d/99-byhand.conf"), ("sshd setting changed", "banner")},
        "rm /etc/ssh/sshd_config.d/99-byhand.conf",
    ),
    "postfix map": (
        "echo 'a b' >/etc/postfix/byhand",
        {("postfix file added", "/etc/postfix/byhand")},
        "rm /etc/postfix/byhand",
    ),
    "postfix parameter": (
        "postconf -e delay_warning_time=4h",
        {("postfix file edited", "/etc/postfix/main.cf"), ("postfix setting changed", "delay_warning_time")},
        None,
    ),
    "postfix service": (
        "postconf -M 'byhand/unix=byhand unix - n n - - discard'",
        {("postfix file edited", "/etc/postfix/master.cf"), ("postfix service added", "byhand/unix")},
        None,
    ),
    "removed package": (
        "dpkg --remove --force-depends needrestart",
        {("package removed", "needrestart")},
        None,
    ),
    "held package": ("apt-mark hold curl", {("package held", "curl")}, "apt-mark unhold curl"),
    "package by hand": (
        "dpkg -i /root/new.deb",
        {("package added", "byhand-new")},
        "dpkg --purge byhand-new",
    ),
    "upgraded package": (
        "dpkg -i /root/up.deb",
        {("package upgraded", "byhand-up")},
        "dpkg -i /root/up0.deb",
    ),
    "downgraded package": (
        "dpkg -i /root/down.deb",
        {("package downgraded", "byhand-down")},
        "dpkg -i /root/down0.deb",
    ),
    "new user": ("useradd byhand", {("user added", "byhand")}, "userdel byhand"),
    "shell": (
        "usermod -s /bin/sh unbound",
        {("user's shell changed", "unbound")},
        "usermod -s /usr/sbin/nologin unbound",
    ),
    "group member": (
        "usermod -aG adm unbound",
        {("group member added", "unbound in adm")},
        "gpasswd -d unbound adm",
    ),
    "password": (
        "echo 'opendkim:byhand' | chpasswd",
        {("user's password changed", "opendkim")},
        "usermod -p '!' opendkim",
    ),
    "key of root": (
        "echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI byhand' >>/root/.ssh/authorized_keys",
        {("SSH key file edited", "/root/.ssh/authorized_keys")},
        "sed -i '/byhand/d' /root/.ssh/authorized_keys",
    ),
    "rule added": (
        "nft add rule inet mailwright input tcp dport 4711 accept",
        {("firewall rule added", "tcp dport 4711 accept")},
        None,
    ),
    "rule removed": (
        f"nft delete rule inet mailwright input handle $({PING} | head -n 1)",
        {("firewall rule removed", "icmp type echo-request limit rate 50/second burst 100 packets accept")},
        None,
    ),
    "host name": ("hostname byhand", {("host name changed", "byhand")}, None),
    "hosts": ("echo '192.0.2.1 byhand' >>/etc/hosts", {("hosts file edited", "/etc/hosts")}, None),
    "resolver": ("echo '# by hand' >>/etc/resolv.conf", {("resolver file edited", "/etc/resolv.conf")}, None),
    "time zone": (
        "cp -a /etc/localtime /root/localtime; ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime",
        {("time zone target changed", "/etc/localtime")},
        "cp -afT /root/localtime /etc/localtime",
    ),
    "setuid": (
        "cp /bin/true /usr/local/bin/byhand; chmod 4755 /usr/local/bin/byhand",
        {("setuid program added", "/usr/local/bin/byhand"), ("local program added", "/usr/local/bin/byhand")},
        "rm /usr/local/bin/byhand",
    ),
    "access list": (f"python3 -c '{ACL}'", {("access list added", "/etc/mailname")}, "rm /etc/mailname"),
    "address": (
        "ip address add 192.0.2.77/32 dev lo",
        {("address added", "lo 192.0.2.77/32")},
        "ip address del 192.0.2.77/32 dev lo",
    ),
}


def drift(file, *arguments, expect=None):
    """One run; returns its report as data, once its exit status is what its findings call for."""
    done = mailwright("drift", "--json", file, *arguments)
    assert done.returncode in (0, 2, 3), done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["status"] == done.returncode
    assert expect is None or done.returncode == expect, report
    return report


def found(report):
    """Kind and subject of every finding, by machine."""
    return {m["machine"]: {(f["kind"], f["subject"]) for f in m["findings"]} for m in report["machines"]}


def both(findings):
    return {name: set(findings) for name in TWINS}


def on_twins(lab, text):
    for name in TWINS:
        lab.host(name).run(f"{UNLOCKED}\n{text}", timeout=240).require()


def undo_by_hand(lab):
    on_twins(lab, "\n".join([*(undo for _, _, undo in BY_HAND.values() if undo), "true"]))


@pytest.fixture(scope="module")
def file(deployed):
    """The fleet file; what other tests have left on machines is taken for granted."""
    done = mailwright("drift", deployed.plan.file, "--accept", "--yes", "--no-dns")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return deployed.plan.file


@pytest.fixture(scope="module")
def packages(lab, file, tmp_path_factory):
    """Two packages on the twins that nobody declares, taken for granted, and other versions to come."""
    folder = tmp_path_factory.mktemp("debs")
    debs = {
        "new": Deb("byhand-new", "1"),
        "up0": Deb("byhand-up", "1.9"),
        "up": Deb("byhand-up", "1.10"),
        "down0": Deb("byhand-down", "1"),
        "down": Deb("byhand-down", "1~rc1"),
    }
    for name, deb in debs.items():
        built = deb.build(folder).read_bytes()
        for twin in TWINS:
            lab.host(twin).run(f"cat >/root/{name}.deb", stdin=built).require()
    on_twins(lab, "dpkg -i /root/up0.deb /root/down0.deb")
    done = mailwright("drift", file, "--accept", "--yes", *(f"--limit={name}" for name in TWINS))
    assert done.returncode == 0, done.stdout + done.stderr
    yield
    on_twins(lab, "dpkg --purge byhand-up byhand-down; rm /root/*.deb")
    mailwright("drift", file, "--accept", "--yes", *(f"--limit={name}" for name in TWINS))


@pytest.mark.proof("drift says nothing on a clean fleet, and who last applied what")
def test_a_clean_fleet_has_no_drift(file, lab, evidence):
    report = drift(file, expect=0)
    assert len(report["machines"]) == len(lab.plan.fleet.machines)
    assert {m["state"] for m in report["machines"]} == {"clean"}
    assert report["dns"]["state"] == "clean"
    for machine in report["machines"]:
        assert machine["findings"] == []
        assert "@" in machine["applied"]["by"]
    assert mailwright("drift", file, "--changes-only", "--state", "/dev/null/x").returncode == 1
    said = mailwright("drift", file, "--limit", TWINS[0]).stdout
    assert "last applied" in said
    evidence(said.splitlines()[1].strip())


@pytest.mark.proof("drift says nothing on a clean fleet, and who last applied what")
def test_a_machine_that_was_bare_is_clean_once_it_is_deployed(file, lab):
    name = lab.plan.fleet.machines[-1].name
    lab.reset([name])
    assert "no record" in drift(file, "--limit", name, expect=3)["machines"][0]["why"]
    deploy(file, name)
    assert drift(file, "--limit", name, expect=0)["machines"][0]["findings"] == []


@pytest.fixture(scope="module")
def spoiled(lab, file, packages):  # noqa: ARG001 - they lie on the machines
    """All that is done by hand on the twins; the findings of one run."""
    done = [
        f"( {text}\n) || {{ echo '{change}: failed' >&2; exit 1; }}"
        for change, (text, _, _) in BY_HAND.items()
    ]
    try:
        on_twins(lab, "\n".join(done))
        yield drift(file, *(f"--limit={name}" for name in TWINS), expect=2)
    finally:
        undo_by_hand(lab)
        deploy(file, *TWINS)


@pytest.mark.proof("drift finds each of forty kinds of change by hand, by its own name")
@pytest.mark.parametrize("change", BY_HAND)
def test_a_change_by_hand_is_found_by_its_own_name(spoiled, change):
    for name in TWINS:
        assert BY_HAND[change][1] <= found(spoiled)[name]


def test_nothing_else_is_found(spoiled):
    expected = set().union(*(findings for _, findings, _ in BY_HAND.values()))
    assert {name: kinds - expected for name, kinds in found(spoiled).items()} == both(set())


def test_an_edit_is_shown_as_a_diff_and_names_the_role(spoiled):
    edits = [f for m in spoiled["machines"] for f in m["findings"] if f["subject"] == "/etc/postfix/virtual"]
    assert [f["role"] for f in edits] == ["postfix", "postfix"]
    assert all("+# by hand" in f["text"] for f in edits)


@pytest.mark.proof("an apply puts right what is declared, and blesses nothing that was done by hand")
@pytest.mark.usefixtures("spoiled")
def test_an_apply_blesses_nothing(lab, file):
    deploy(file, *TWINS)
    left = set().union(*(findings for _, findings, undo in BY_HAND.values() if undo))
    after = found(drift(file, *(f"--limit={name}" for name in TWINS), expect=2))
    assert after == both(left)
    undo_by_hand(lab)
    deploy(file, *TWINS)
    assert found(drift(file, *(f"--limit={name}" for name in TWINS), expect=0)) == both(set())


def test_an_emptied_firewall_is_one_finding(lab, file):
    on_twins(lab, "nft flush ruleset")
    try:
        report = drift(file, *(f"--limit={name}" for name in TWINS), expect=2)
        assert found(report) == both({("firewall emptied", "ruleset")})
    finally:
        deploy(file, *TWINS)


def test_a_run_without_changes_leaves_the_record_alone(lab, file):
    read = "cat /var/lib/mailwright/applied/*"
    before = [lab.host(name).run(read).require().stdout for name in TWINS]
    assert changes(deploy(file, *TWINS)) == {}
    assert [lab.host(name).run(read).require().stdout for name in TWINS] == before


def test_records_that_somebody_changed_in_the_dns_are_found(lab, file):
    zone = lab.plan.fleet.domains[0].name
    name = f"{TWINS[0]}.{zone}"
    edits = (f"unset {zone} {name} A", f"set {zone} {name} 60 A 192.0.2.9", f"unset {zone} _smtp._tls TXT")
    steps = [f"-f zone-begin {zone}", *(f"zone-{edit}" for edit in edits), f"zone-commit {zone}"]
    lab.host("ns").run(" && ".join(f"knotc {step}" for step in steps)).require()
    try:
        report = drift(file, expect=2)
        assert {(f["kind"], f["subject"]) for f in report["dns"]["findings"]} == {
            ("DNS record changed", f"{name} A"),
            ("DNS record missing", f"_smtp._tls.{zone} TXT"),
        }
    finally:
        done = mailwright("dns", "apply", "--yes", "--adopt", f"{name}/A", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_changes_are_reported_and_a_machine_that_is_silent_is_unknown(lab, file, tmp_path):
    def news():
        done = mailwright("drift", file, "--changes-only", "--state", tmp_path / "report.json", "--no-dns")
        return done.returncode, done.stdout

    name = TWINS[0]
    host = lab.host(name)
    assert news() == (0, "")
    host.run(
        "touch /etc/cron.daily/byhand || { mkdir /etc/cron.daily; touch /etc/cron.daily/byhand; }"
    ).require()
    status, said = news()
    assert (status, "cron job added  /etc/cron.daily/byhand" in said) == (2, True), said
    assert news() == (0, "")
    host.run("systemctl stop ssh.socket ssh.service").require()
    try:
        status, said = news()
        assert (status, f"{name}  unknown now" in said) == (3, True), said
        assert drift(file, "--limit", name, expect=3)["machines"][0]["state"] == "unknown"
    finally:
        host.run("systemctl start ssh.service; rm /etc/cron.daily/byhand").require()
        host.wait_for_ssh()
    status, said = news()
    assert (status, "no more: cron job added" in said) == (2, True), said
