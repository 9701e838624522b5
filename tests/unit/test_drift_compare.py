"""Each kind of change by hand has a name of its own, and is told once."""

import hashlib

import pytest

from mailwright.drift.compare import compare
from mailwright.drift.declared import Declared
from mailwright.drift.survey import FOOTER, HEADER, parse
from mailwright.drift.versions import newer
from mailwright.model.needs import File, Needs, Package, Port, Unit, User
from mailwright.model.site import MachinePlan

BEFORE = """\
path\t/etc/app.conf\tf root root 644\ncontent\t/etc/app.conf\taaaa
path\t/etc/localtime\tl root root 777 /usr/share/zoneinfo/Etc/UTC
path\t/etc/systemd/system\td root root 755\npath\t/etc/systemd/system/a.service\tf root root 644
content\t/etc/systemd/system/a.service\tbbbb
package\tpostfix\tii 3.7.6-0+deb12u2\npackage\tbash\tii 5.2\npackage\tcurl\thi 7.88
unit\ta.service\tenabled\nunit\tb.service\tdisabled\nunit\tm.service\tmasked\nrunning\ta.service\tactive
timer\tapt-daily.timer\tactive
user\tann\t1000:1000:/home/ann:/bin/bash\nuser\tbob\t1001:1001:/home/bob:/bin/bash
member\tsudo ann\t\npassword\tann\tlocked 20000\ngroup\tann\t1000
sysctl\tnet/ipv4/ip_forward\t0\nhost\tname\tout1
rule\ttable inet mailwright\t\nrule\ttable inet mailwright, chain input: tcp dport 25 accept\t
order\truleset\t1111
port\ttcp 0.0.0.0:25\tmaster\nport\ttcp 0.0.0.0:22\tsshd
address\thost0 198.51.100.11/24\t\nroute\tIPv4 default\t198.51.100.1 host0
postfix\tmyhostname\tout1.example\npostfix-service\tsmtp/inet\tsmtp inet n
sshd\tpermitrootlogin\twithout-password\nsetuid\t/usr/bin/sudo\troot root 4755
"""


def survey(text):
    whole = parse(f"{HEADER}\n{text}\n{FOOTER}\n")
    assert whole is not None
    return whole


def told(old, new, unattended=()):
    """What is told when a line of `BEFORE` (or nothing) has become others (or nothing)."""
    text = BEFORE.replace(old, "") + new if old else BEFORE + new
    assert not old or old in BEFORE
    return compare(survey(BEFORE), survey(text), unattended)


CASES = {
    "file edited": ("content\t/etc/app.conf\taaaa", "content\t/etc/app.conf\tcccc"),
    "file owner changed": ("path\t/etc/app.conf\tf root root 644", "path\t/etc/app.conf\tf bob root 644"),
    "file group changed": ("path\t/etc/app.conf\tf root root 644", "path\t/etc/app.conf\tf root bob 644"),
    "file mode changed": ("path\t/etc/app.conf\tf root root 644", "path\t/etc/app.conf\tf root root 666"),
    "file type changed": (
        "path\t/etc/app.conf\tf root root 644",
        "path\t/etc/app.conf\tl root root 777 /tmp/x",
    ),
    "file missing": ("path\t/etc/app.conf\tf root root 644", ""),
    "file added": ("", "path\t/etc/more.conf\tf root root 644"),
    "directory added": ("", "path\t/etc/postfix/more.d\td root root 755"),
    "time zone target changed": (
        "path\t/etc/localtime\tl root root 777 /usr/share/zoneinfo/Etc/UTC",
        "path\t/etc/localtime\tl root root 777 /usr/share/zoneinfo/Mars",
    ),
    "sysctl file added": ("", "path\t/etc/sysctl.d/x.conf\tf root root 644"),
    "cron job added": ("", "path\t/etc/cron.d/x\tf root root 644"),
    "crontab added": ("", "path\t/var/spool/cron/crontabs/root\tf root crontab 600"),
    "package source added": ("", "path\t/etc/apt/sources.list.d/x.list\tf root root 644"),
    "package pin added": ("", "path\t/etc/apt/preferences.d/x\tf root root 644"),
    "sudo rule added": ("", "path\t/etc/sudoers.d/x\tf root root 440"),
    "SSH file added": ("", "path\t/etc/ssh/sshd_config.d/x.conf\tf root root 644"),
    "SSH key file added": ("", "path\t/home/ann/.ssh/authorized_keys\tf ann ann 600"),
    "unit drop-in added": ("", "path\t/etc/systemd/system/a.service.d/x.conf\tf root root 644"),
    "unit edited": (
        "content\t/etc/systemd/system/a.service\tbbbb",
        "content\t/etc/systemd/system/a.service\tc",
    ),
    "package added": ("", "package\tnmap\tii 7.93"),
    "package removed": ("package\tbash\tii 5.2", ""),
    "package held": ("package\tbash\tii 5.2", "package\tbash\thi 5.2"),
    "package let go": ("package\tcurl\thi 7.88", "package\tcurl\tii 7.88"),
    "package upgraded": ("package\tpostfix\tii 3.7.6-0+deb12u2", "package\tpostfix\tii 3.7.11-0+deb12u1"),
    "package downgraded": ("package\tpostfix\tii 3.7.6-0+deb12u2", "package\tpostfix\tii 3.7.6-0+deb12u1"),
    "package half-way": ("package\tbash\tii 5.2", "package\tbash\tiF 5.2"),
    "unit disabled": ("unit\ta.service\tenabled", "unit\ta.service\tdisabled"),
    "unit enabled": ("unit\tb.service\tdisabled", "unit\tb.service\tenabled"),
    "unit unmasked": ("unit\tm.service\tmasked", "unit\tm.service\tdisabled"),
    "unit stopped": ("running\ta.service\tactive", "running\ta.service\tinactive"),
    "unit failed": ("running\ta.service\tactive", "running\ta.service\tfailed"),
    "timer stopped": ("timer\tapt-daily.timer\tactive", "timer\tapt-daily.timer\tinactive"),
    "timer started": ("", "timer\trun-r1.timer\tactive"),
    "transient unit added": ("", "transient\tx.service\trunning"),
    "user added": ("", "user\teve\t1002:1002:/home/eve:/bin/bash"),
    "user missing": ("user\tbob\t1001:1001:/home/bob:/bin/bash", ""),
    "user's shell changed": (
        "user\tbob\t1001:1001:/home/bob:/bin/bash",
        "user\tbob\t1001:1001:/home/bob:/bin/zsh",
    ),
    "user's number changed": (
        "user\tbob\t1001:1001:/home/bob:/bin/bash",
        "user\tbob\t0:1001:/home/bob:/bin/bash",
    ),
    "user's password changed": ("password\tann\tlocked 20000", "password\tann\tset 20001"),
    "group member added": ("", "member\tsudo bob\t"),
    "group member missing": ("member\tsudo ann\t", ""),
    "sysctl changed": ("sysctl\tnet/ipv4/ip_forward\t0", "sysctl\tnet/ipv4/ip_forward\t1"),
    "host name changed": ("host\tname\tout1", "host\tname\tother"),
    "firewall rule added": ("", "rule\ttable inet mailwright, chain input: tcp dport 4711 accept\t"),
    "firewall rule removed": ("rule\ttable inet mailwright, chain input: tcp dport 25 accept\t", ""),
    "firewall rules reordered": ("order\truleset\t1111", "order\truleset\t2222"),
    "listening port opened": ("", "port\ttcp 0.0.0.0:4711\tperl"),
    "listening port closed": ("port\ttcp 0.0.0.0:25\tmaster", ""),
    "listening program changed": ("port\ttcp 0.0.0.0:22\tsshd", "port\ttcp 0.0.0.0:22\tperl"),
    "address added": ("", "address\thost0 198.51.100.99/24\t"),
    "route changed": ("route\tIPv4 default\t198.51.100.1 host0", "route\tIPv4 default\t198.51.100.2 host0"),
    "postfix setting changed": ("postfix\tmyhostname\tout1.example", "postfix\tmyhostname\tother.example"),
    "postfix service added": ("", "postfix-service\tx/unix\tx unix"),
    "sshd setting changed": ("sshd\tpermitrootlogin\twithout-password", "sshd\tpermitrootlogin\tyes"),
    "setuid program added": ("", "setuid\t/tmp/sh\troot root 4755"),
    "capability added": ("", "capability\t/usr/bin/x\tcap_net_raw=ep"),
    "access list added": ("", "acl\t/etc/app.conf\tyes"),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_of_change_has_its_name(kind):
    assert [finding.kind for finding in told(*CASES[kind])] == [kind]


def test_nothing_is_told_of_a_machine_that_is_as_it_was():
    assert compare(survey(BEFORE), survey(BEFORE)) == ()


@pytest.mark.parametrize("kind", ["package", "unit", "running", "rule", "port"])
def test_what_a_machine_could_not_say_is_not_missing(kind):
    rest = "\n".join(line for line in BEFORE.splitlines() if not line.startswith(f"{kind}\t"))
    silent = survey(f"{rest}\nfailed\t{kind}\t")
    assert compare(survey(BEFORE), silent) == compare(silent, survey(BEFORE)) == ()


def test_an_emptied_firewall_is_one_finding_and_not_one_for_each_rule():
    without = "\n".join(line for line in BEFORE.splitlines() if not line.startswith("rule\t"))
    assert [f.kind for f in compare(survey(BEFORE), survey(without))] == ["firewall emptied"]


def test_a_masked_unit_is_told_once_with_all_that_masking_leaves():
    new = (
        "unit\ta.service\tmasked\npath\t/etc/systemd/system/a.service\tl root root 777 /dev/null\n"
        "path\t/etc/systemd/system/x.wants/a.service\tl root root 777 /x"
    )
    old = "unit\ta.service\tenabled"
    before = (
        (BEFORE + "timer\ta.service\tactive\n")
        .replace("path\t/etc/systemd/system/a.service\tf root root 644\n", "")
        .replace("content\t/etc/systemd/system/a.service\tbbbb\n", "")
    )
    after = before.replace(old, new).replace("timer\ta.service\tactive\n", "")
    found = compare(survey(before), survey(after))
    assert [(f.kind, f.subject) for f in found] == [("unit masked", "a.service")]


def test_a_new_unit_is_told_once_by_its_file_and_its_links_and_timer_not_at_all():
    new = """\
path\t/etc/systemd/system/n.timer\tf root root 644\nunit\tn.timer\tenabled\ntimer\tn.timer\tactive
path\t/etc/systemd/system/timers.target.wants\td root root 755
path\t/etc/systemd/system/timers.target.wants/n.timer\tl root root 777 /etc/systemd/system/n.timer"""
    assert [(f.kind, f.subject) for f in told("", new)] == [("unit added", "/etc/systemd/system/n.timer")]


def test_what_unattended_upgrades_brought_is_told_as_expected():
    old, new = CASES["package upgraded"]
    (finding,) = told(old, new, {("postfix", "3.7.11-0+deb12u1")})
    assert finding.expected
    (by_hand,) = told(old, new, {("postfix", "3.7.9-0+deb12u1")})
    assert not by_hand.expected


@pytest.mark.parametrize(
    ("change", "brought"),
    [("package added", ("nmap", "7.93")), ("package removed", ("bash", "-5.2"))],
)
def test_a_kernel_that_unattended_upgrades_exchanges_by_name_is_expected(change, brought):
    (finding,) = told(*CASES[change], {brought})
    assert finding.expected
    (by_hand,) = told(*CASES[change], {(brought[0], brought[1].strip("-") + ".1")})
    assert not by_hand.expected


def test_a_package_removed_by_hand_is_none_that_unattended_upgrades_brought():
    (finding,) = told(*CASES["package removed"], {("bash", "5.2")})
    assert not finding.expected


@pytest.mark.parametrize(
    ("older", "later"),
    [
        ("1.0~rc1", "1.0"),
        ("2.0", "1:0.1"),
        ("2.9", "2.10"),
        ("1.0-1~bpo1", "1.0-1"),
        ("1.0", "1.0+b"),
        ("1a", "1+"),
    ],
)
def test_debian_versions_are_ordered_as_the_policy_says(older, later):
    assert (newer(later, older), newer(older, later), newer(older, older)) == (True, False, False)


NEEDS = Needs(
    packages=(Package("nmap"),),
    files=(File("/etc/app.conf", b"x"),),
    units=(Unit("b.service"),),
    ports=(Port(4711, "tcp", "public", "a test"), Port(4712, "tcp", "local", "a test")),
    users=(User("eve", groups=("sudo",)),),
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        CASES["package added"],
        CASES["unit enabled"],
        CASES["listening port opened"],
        CASES["user added"],
        ("", "member\tsudo eve\t"),
        ("", "port\ttcp 127.0.0.1:4712\tperl"),
        ("content\t/etc/app.conf\taaaa", f"content\t/etc/app.conf\t{hashlib.sha256(b'x').hexdigest()}"),
    ],
)
def test_what_the_fleet_file_says_by_now_is_no_drift(old, new):
    declared = Declared(MachinePlan(None, (), {}, {"app": NEEDS}, NEEDS))
    after = survey((BEFORE.replace(old, "") if old else BEFORE) + new)
    (finding,) = compare(survey(BEFORE), after)
    assert declared.met(finding, after)


def test_an_access_list_on_a_declared_file_is_drift_though_the_file_is_as_declared():
    declared = Declared(MachinePlan(None, (), {}, {"app": NEEDS}, NEEDS))
    content = f"content\t/etc/app.conf\t{hashlib.sha256(b'x').hexdigest()}"
    found = compare(
        survey(BEFORE),
        survey(BEFORE.replace("content\t/etc/app.conf\taaaa", content) + "acl\t/etc/app.conf\tyes"),
    )
    assert [f.kind for f in found if not declared.met(f, survey(BEFORE))][-1] == "access list added"


def test_what_an_apply_leaves_alone_names_no_role():
    needs = Needs(packages=(Package("bash"),))
    declared = Declared(MachinePlan(None, (), {}, {"app": needs}, needs))
    roles = {kind: declared.role(told(*CASES[kind])[0]) for kind in ("package held", "package removed")}
    assert roles == {"package held": "", "package removed": "app"}


def test_a_port_that_is_declared_for_the_machine_alone_is_drift_where_others_reach_it():
    declared = Declared(MachinePlan(None, (), {}, {"app": NEEDS}, NEEDS))
    (finding,) = told("", "port\ttcp 0.0.0.0:4712\tperl")
    assert not declared.met(finding, survey(BEFORE))


def test_a_finding_names_the_role_that_declares_the_thing():
    declared = Declared(MachinePlan(None, (), {}, {"app": NEEDS}, NEEDS))
    (finding,) = told(*CASES["file mode changed"])
    assert declared.role(finding) == "app"
    (other,) = told(*CASES["cron job added"])
    assert declared.role(other) == ""
