"""Needs refuse what no host would take, and contradictions between roles."""

from __future__ import annotations

import pytest

from mailwright.model.errors import NeedsError
from mailwright.model.needs import (
    Absent,
    Directory,
    File,
    Needs,
    Package,
    Port,
    Sysctl,
    Unit,
    User,
    merge,
)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "etc/x",
        "/etc//x",
        "/etc/x/",
        "/etc/../x",
        "/etc/./x",
        "/etc/a\nb",
        "/etc/a\0",
        "/etc/\x1b[2J",
    ],
)
@pytest.mark.parametrize(
    "need", [lambda p: File(p, b""), Directory, Absent, lambda p: Unit("a.service", (p,))]
)
def test_paths_are_absolute_normalised_and_printable(need, path):
    with pytest.raises(NeedsError, match="path"):
        need(path)


@pytest.mark.parametrize("path", ["/x", "/etc/it's", "/etc/a b", "/etc/$(x)", "/etc/-rf", "/etc/ünï"])
def test_odd_paths_are_paths(path):
    assert File(path, b"").path == path


@pytest.mark.parametrize("name", ["", "Postfix", "postfix;reboot", "-y", "a", "postfix=1", "../x", "a b"])
def test_package_names_are_debian_s(name):
    with pytest.raises(NeedsError, match="package"):
        Package(name)


@pytest.mark.parametrize(
    "name", ["postfix", "mail.", "a b.service", "x.service;reboot", "--now", "x.conf", "/x.service"]
)
def test_unit_names_have_their_suffix_and_nothing_else(name):
    with pytest.raises(NeedsError, match="unit"):
        Unit(name)


@pytest.mark.parametrize(
    "name", ["postfix@-.service", "apt-daily.timer", "dev-disk-by\\x2dlabel-a.mount", "a.socket"]
)
def test_odd_unit_names_are_unit_names(name):
    assert Unit(name).name == name


@pytest.mark.parametrize(
    "change", [{"owner": "a:b"}, {"group": "$(id)"}, {"owner": ""}, {"mode": 0o10000}, {"mode": -1}]
)
def test_owners_and_modes(change):
    with pytest.raises(NeedsError):
        File("/etc/x", b"", **change)
    with pytest.raises(NeedsError):
        Directory("/etc/x", **change)


@pytest.mark.parametrize("key", ["", "vm", "net..x", "net ipv4", "net.ipv4;x", "-w"])
def test_sysctl_keys(key):
    with pytest.raises(NeedsError, match="sysctl"):
        Sysctl(key, "1", "x")


@pytest.mark.parametrize(("value", "reason"), [("", "x"), (" ", "x"), ("1\n2", "x"), ("1", "two\nlines = 1")])
def test_sysctl_values_and_reasons_are_one_line(value, reason):
    with pytest.raises(NeedsError, match="one line"):
        Sysctl("vm.swappiness", value, reason)


@pytest.mark.parametrize(
    "change", [{"keys": ("a\nb",)}, {"keys": ("",)}, {"home": "x"}, {"groups": ("a,b",)}, {"group": "A"}]
)
def test_users(change):
    with pytest.raises(NeedsError):
        User("ann", **change)


def test_keys_are_managed_where_somebody_may_log_in():
    assert not User("postfix").managed_keys
    assert User("ann", system=False).managed_keys
    assert User("root", home="/root", keys=("ssh-ed25519 AAAA",)).managed_keys


def test_equal_needs_are_said_once():
    a = Needs(packages=(Package("postfix"),), files=(File("/etc/x", b"1"),))
    assert a + a == a


def test_the_same_port_for_two_reasons_is_one_opening():
    a, b = (Needs(ports=(Port(25, "tcp", "public", reason),)) for reason in ("mail", "more mail"))
    assert [p.reason for p in (a + b).ports] == ["mail"]


def test_a_contradiction_names_the_thing_and_both_values():
    with pytest.raises(NeedsError, match=r"files /etc/x: mode 420 and 416"):
        merge([Needs(files=(File("/etc/x", b"", mode=m),)) for m in (0o644, 0o640)])


def test_a_contradiction_of_contents_does_not_show_them():
    with pytest.raises(NeedsError) as e:
        merge([Needs(files=(File("/etc/x", c, secret=True),)) for c in (b"hunter2", b"hunter3")])
    assert str(e.value) == "two roles need different files /etc/x: content"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Needs(files=(File("/etc/x", b""),)), Needs(absent=(Absent("/etc/x"),))),
        (Needs(files=(File("/etc/x", b""),)), Needs(directories=(Directory("/etc/x"),))),
        (Needs(absent=(Absent("/etc/x"),)), Needs(directories=(Directory("/etc/x"),))),
    ],
)
def test_a_path_is_one_thing(one, other):
    for pair in ((one, other), (other, one)):
        with pytest.raises(NeedsError, match="/etc/x is"):
            merge(pair)


def test_no_content_shows_in_a_repr():
    assert "hunter2" not in repr(Needs(files=(File("/etc/x", b"hunter2", secret=True),)))
