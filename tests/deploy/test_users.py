"""Accounts, their numbers and keys."""

from __future__ import annotations

import shlex
from dataclasses import replace

from mailwright.converge.users import decide, keys
from mailwright.model.accounts import POSTFIX, TABLE
from mailwright.model.needs import User
from mailwright.observe import GroupState, PathState, UserState, parse
from mailwright.observe.script import FOOTER, HEADER

EMPTY = parse(f"{HEADER}\nclock 1.0\nuptime 1.0\nuid 0\npath d root root 755 1.0 1.0 /\n{FOOTER}\n")
SERVICE = User("opendkim", uid=5001, gid=5001, groups=("postfix",))
KEY = "ssh-ed25519 A a"
LOGIN = {"home": "/home/ann", "shell": "/bin/bash", "system": False}
PERSON = User("ann", **LOGIN, groups=("sudo",), keys=(KEY,))


def seen(users=None, groups=None, paths=None):
    return replace(EMPTY, users=users or {}, groups=groups or {}, paths={**EMPTY.paths, **(paths or {})})


def group(gid, *members):
    return GroupState(gid, frozenset(members))


def plan(*users, seen, late=True):
    return decide(users, seen, packages_are_there=late)


def test_a_service_gets_its_numbers_before_any_package_takes_them():
    commands = plan(SERVICE, seen=seen(), late=False).commands
    assert commands[0] == "groupadd -r -g 5001 opendkim"
    words = shlex.split(commands[1])
    assert words[0] == "useradd"
    assert words[words.index("-u") + 1] == "5001"
    assert {"-r", "-M"} <= set(words)
    assert "-G" not in words


def test_the_group_of_a_package_is_joined_after_the_packages():
    there = seen({"opendkim": UserState(5001, 5001, "/nonexistent", "/bin/false")}, {"opendkim": group(5001)})
    assert not plan(SERVICE, seen=there, late=False)
    assert plan(SERVICE, seen=there).obstacles == ("user opendkim: there is no group postfix to be in",)
    there = replace(there, groups={**there.groups, "postfix": group(110)})
    assert plan(SERVICE, seen=there).commands == ("usermod -aG postfix opendkim",)
    there = replace(there, groups={**there.groups, "postfix": group(110, "opendkim")})
    assert not plan(SERVICE, seen=there)


def test_two_of_our_own_may_share_a_group():
    mail = User("vmail", gid=5000, uid=5000)
    reader = User("reader", group="vmail")
    commands = plan(mail, reader, seen=seen()).commands
    assert [c.split()[0] for c in commands] == ["groupadd", "useradd", "useradd"]


def test_a_number_is_never_changed_by_itself():
    wrong = seen({"opendkim": UserState(107, 115, "/run/opendkim", "/bin/false")}, {"opendkim": group(115)})
    plan_ = plan(SERVICE, seen=wrong, late=False)
    assert plan_.commands == ()
    assert len(plan_.obstacles) == 2
    assert "has the number 107 and should have 5001" in plan_.obstacles[1]


def test_a_package_keeps_its_home_and_shell():
    there = seen(
        {"opendkim": UserState(5001, 5001, "/run/opendkim", "/bin/false")},
        {"opendkim": group(5001), "postfix": group(110, "opendkim")},
    )
    assert not plan(SERVICE, seen=there)


def test_a_person_has_the_home_and_shell_that_the_fleet_says():
    there = seen(
        {"ann": UserState(1000, 1000, "/srv/ann", "/bin/sh")}, {"ann": group(1000), "sudo": group(27, "ann")}
    )
    assert plan(PERSON, seen=there).commands == ("usermod -s /bin/bash -d /home/ann ann",)


def test_a_person_can_log_in_without_a_password():
    words = shlex.split(plan(PERSON, seen=seen(groups={"sudo": group(27)})).commands[-1])
    assert words[words.index("-p") + 1] == "*"
    assert "-m" in words
    assert words[words.index("-G") + 1] == "sudo"


def test_keys_are_the_whole_file_and_private():
    needs = keys([PERSON, SERVICE])
    assert [(d.path, d.owner, d.mode) for d in needs.directories] == [("/home/ann/.ssh", "ann", 0o700)]
    (file,) = needs.files
    assert (file.path, file.mode) == ("/home/ann/.ssh/authorized_keys", 0o600)
    assert file.content == f"{KEY}\n".encode()


def test_another_key_on_the_host_is_a_change():
    there = seen(
        {"ann": UserState(1000, 1000, "/home/ann", "/bin/bash")},
        {"ann": group(1000), "sudo": group(27, "ann")},
        {
            "/home/ann/.ssh": PathState("directory", "ann", "ann", 0o700, 1.0, 1.0, None),
            "/home/ann/.ssh/authorized_keys": PathState("file", "ann", "ann", 0o600, 1.0, 1.0, "0" * 64),
        },
    )
    assert plan(PERSON, seen=there).keys.lines == ("/home/ann/.ssh/authorized_keys: content",)


def test_root_is_never_amended():
    root = User("root", uid=0, gid=0, home="/root", keys=("ssh-ed25519 A a",))
    there = seen({"root": UserState(0, 0, "/root", "/bin/bash")}, {"root": group(0)})
    assert plan(root, seen=there).commands == ()


def test_a_package_finds_its_account_and_its_further_groups_with_the_numbers_of_the_table():
    commands = plan(POSTFIX, seen=seen(), late=False).commands
    assert commands[:2] == ("groupadd -r -g 820 postfix", "groupadd -r -g 821 postdrop")
    assert "-u 820" in commands[2]


def test_a_machine_that_had_the_package_first_keeps_its_numbers():
    there = seen(
        {"postfix": UserState(105, 112, "/var/spool/postfix", "/usr/sbin/nologin")},
        {"postfix": group(112), "postdrop": group(113)},
    )
    assert not plan(POSTFIX, seen=there)


def test_no_two_accounts_of_the_table_share_a_number():
    numbers = [n for user in TABLE for n in (user.uid, *(brought.gid for brought in user.brings))]
    assert len(set(numbers)) == len(numbers)
    assert all(800 <= n < 900 for n in numbers)
    assert all(user.uid == user.gid for user in TABLE)
