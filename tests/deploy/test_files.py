"""Files: what is found to differ, and the script that puts it right, run by a real shell."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mailwright.converge.files import apply, compare
from mailwright.converge.shell import script
from mailwright.model.needs import Absent, Directory, File, Needs
from mailwright.observe import PathState, parse
from mailwright.observe.script import FOOTER, HEADER

EMPTY = parse(f"{HEADER}\nclock 1.0\nuptime 1.0\nuid 0\npath d root root 755 1.0 1.0 /\n{FOOTER}\n")


def seen(**paths):
    """An observation with these paths."""
    return replace(EMPTY, paths={**EMPTY.paths, **paths})


def state(content=b"", kind="file", owner="root", group="root", mode=0o644):
    digest = hashlib.sha256(content).hexdigest() if kind == "file" else None
    return PathState(kind, owner, group, mode, 1.0, 1.0, digest)


DRESSED = {"owner": "mail", "group": "mail", "mode": 0o640}
FILE = File("/etc/a.conf", b"x", "mail", "mail", 0o640)


class TestCompare:
    def test_what_is_right_needs_nothing(self):
        needs = Needs(files=(FILE,), directories=(Directory("/etc/d"),), absent=(Absent("/etc/gone"),))
        right = {"/etc/a.conf": state(b"x", **DRESSED), "/etc/d": state(kind="directory", mode=0o755)}
        assert not compare(needs, seen(**right))

    @pytest.mark.parametrize(
        ("found", "line"),
        [
            (None, "/etc/a.conf: new"),
            (state(b"y", **DRESSED), "/etc/a.conf: content"),
            (state(b"x", group="mail", mode=0o640), "/etc/a.conf: owner root:mail -> mail:mail"),
            (state(b"x", owner="mail", group="mail"), "/etc/a.conf: mode 0644 -> 0640"),
            (state(kind="link", **DRESSED), "/etc/a.conf: content"),
        ],
    )
    def test_a_file_that_differs_is_named_with_how(self, found, line):
        changes = compare(Needs(files=(FILE,)), seen(**({"/etc/a.conf": found} if found else {})))
        assert changes.lines == (line,)
        assert changes.paths == {"/etc/a.conf"}
        assert changes.obstacles == ()

    def test_a_directory_in_the_place_of_a_file_is_nobody_s_to_remove(self):
        needs = Needs(files=(FILE,), absent=(Absent("/etc/gone"),))
        found = {p: state(kind="directory", mode=0o755) for p in ("/etc/a.conf", "/etc/gone")}
        assert len(compare(needs, seen(**found)).obstacles) == 2

    def test_a_link_in_the_place_of_a_directory_is_not_followed(self):
        changes = compare(Needs(directories=(Directory("/etc/d"),)), seen(**{"/etc/d": state(kind="link")}))
        assert changes.obstacles == ("/etc/d must be a directory and is a link: move it away",)


@pytest.fixture
def needs(sandbox):
    me = sandbox.me
    return Needs(
        directories=(
            Directory(sandbox.path("etc/d/sub"), mode=0o750, **me),
            Directory(sandbox.path("etc/d"), **me),
        ),
        files=(
            File(sandbox.path("etc/d/a.conf"), b"new a\n", **me),
            File(sandbox.path("etc/d/sub/key"), bytes(range(256)) * 9, mode=0o600, secret=True, **me),
            File(sandbox.path("etc/d/empty"), b"", mode=0o400, **me),
            File(sandbox.path("etc/undeclared/b"), b"no newline", **me),
            File(sandbox.path("etc/d/it's $(touch pwned) `x` \\"), b"odd\n", **me),
        ),
        absent=(Absent(sandbox.path("etc/d/default.conf")),),
    )


@pytest.fixture
def host(sandbox):
    """A host with some of the files, old."""
    folder = sandbox.root / "host/etc/d"
    folder.mkdir(parents=True)
    (folder / "a.conf").write_bytes(b"old a\n")
    (folder / "default.conf").write_bytes(b"from the package\n")
    return sandbox


def everything(needs):
    """The changes that bring all of the needs to the sandbox."""
    there = [a.path for a in needs.absent if os.path.lexists(a.path)]
    return compare(needs, seen(**{p: state(b"?") for p in there}))


WANTED = {
    "etc/d/a.conf": (b"new a\n", 0o644),
    "etc/d/sub": (None, 0o750),
    "etc/d/sub/key": (bytes(range(256)) * 9, 0o600),
    "etc/d/empty": (b"", 0o400),
    "etc/undeclared/b": (b"no newline", 0o644),
    "etc/undeclared": (None, 0o755),
    "etc/d/it's $(touch pwned) `x` \\": (b"odd\n", 0o644),
    "etc/d": (None, 0o755),
    "etc": (None, 0o755),
}


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_all_files_arrive_whole_with_owner_and_mode(host, needs, shell):
    done = host.run(apply(everything(needs)), shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.tree() == WANTED
    assert host.leftovers() == []


def test_a_removal_leaves_its_mark_for_the_units(host, needs):
    host.run(apply(everything(needs)))
    assert (host.root / f"var/lib/mailwright/removed{needs.absent[0].path}").exists()


def test_a_second_time_changes_nothing(host, needs):
    text = apply(everything(needs))
    host.run(text)
    host.run(text)
    assert host.tree() == WANTED


def test_a_file_is_replaced_and_not_rewritten(host, needs):
    """Who has the old one open keeps reading the old one."""
    with (host.root / "host/etc/d/a.conf").open("rb") as old:
        host.run(apply(everything(needs)))
        assert old.read() == b"old a\n"


def test_a_link_is_replaced_and_its_target_left_alone(host, needs):
    target = host.root / "target"
    target.write_bytes(b"precious")
    path = host.root / "host/etc/d/a.conf"
    path.unlink()
    path.symlink_to(target)
    host.run(apply(everything(needs)))
    assert target.read_bytes() == b"precious"
    assert path.read_bytes() == b"new a\n"
    assert not path.is_symlink()


def test_only_owner_and_mode_are_put_right_in_place(host):
    path = host.root / "host/etc/d/a.conf"
    path.chmod(0o666)
    before = path.stat().st_ino
    file = File(str(path), b"old a\n", mode=0o640, **host.me)
    changes = compare(Needs(files=(file,)), seen(**{str(path): state(b"old a\n", mode=0o666, **host.me)}))
    assert host.run(apply(changes)).returncode == 0
    assert (path.stat().st_mode & 0o7777, path.stat().st_ino) == (0o640, before)


class TestValidation:
    def test_a_refusal_changes_nothing_and_is_shown(self, host, needs):
        before = host.tree()
        done = host.run(apply(everything(needs), "echo 'a.conf:1: no such word'; exit 3"))
        assert done.returncode == 1
        assert "a.conf:1: no such word" in done.stderr
        assert "not valid: nothing was changed" in done.stderr
        assert host.tree() == before
        assert host.leftovers() == []

    def test_it_sees_the_files_as_they_will_be(self, host, needs):
        root = "{root}" + host.path("etc/d")
        tests = ("grep -q 'new a' a.conf", "[ $(stat -c %a sub/key) = 600 ]", "[ ! -e default.conf ]")
        command = " && ".join((f"cd {root}", *tests))
        assert host.run(apply(everything(needs), command)).returncode == 0

    def test_it_sees_what_else_is_in_etc(self, host, needs):
        assert host.run(apply(everything(needs), "[ -s {root}/etc/passwd ]")).returncode == 0

    def test_absolute_paths_lead_to_the_new_files(self, sandbox):
        """Where the kernel allows it: the configuration may name its parts as they will be called."""
        if os.geteuid() != 0:
            pytest.skip("needs a mount namespace")
        file = File("/etc/mailwright-test/a.conf", b"new", **sandbox.me)
        changes = compare(Needs(files=(file,)), EMPTY)
        done = sandbox.run(apply(changes, "grep -q new /etc/mailwright-test/a.conf && echo seen && exit 1"))
        assert "seen" in done.stderr
        assert not Path("/etc/mailwright-test").exists()

    def test_it_sees_nothing_that_a_killed_run_left(self, host, needs):
        stale = host.root / f"run/mailwright/stage/root{host.path('etc/d/stale.conf')}"
        stale.parent.mkdir(parents=True)
        stale.touch()
        test = f"[ ! -e {{root}}{host.path('etc/d/stale.conf')} ]"
        assert host.run(apply(everything(needs), test)).returncode == 0

    def test_it_cannot_read_on_in_the_script(self, host, needs):
        assert host.run(apply(everything(needs), "! read -r line")).returncode == 0


def test_whatever_fails_before_the_first_rename_leaves_the_host_as_it_was(host, needs):
    before = host.tree()
    wrong = File(host.path("etc/d/z.conf"), b"z", owner="nobody-here", group="root")
    changes = everything(Needs(files=(*needs.files, wrong)))
    done = host.run(apply(changes))
    assert done.returncode != 0
    assert {p: v for p, v in host.tree().items() if v[0] is not None} == {
        p: v for p, v in before.items() if v[0] is not None
    }
    assert host.leftovers() == []


def test_a_run_that_is_killed_anywhere_is_healed_by_the_next(host, needs):
    text = apply(everything(needs))
    steps = [m.start() for m in re.finditer(r"(?m)^(stage|install|sync|mv|folder|rm|clean)\b", text)]
    assert len(steps) > 15
    for step in steps:
        done = host.run(text[:step] + "kill -9 $$\n" + text[step:])
        assert done.returncode == -9
        whole = (b"old a\n", b"new a\n")
        assert (host.root / "host/etc/d/a.conf").read_bytes() in whole
        assert host.run(text).returncode == 0
        assert host.tree() == WANTED
        assert host.leftovers() == []
        (host.root / "host/etc/d/a.conf").write_bytes(b"old a\n")


def test_half_of_a_script_changes_nothing(host, needs):
    """The connection broke while the script was on its way."""
    before = host.tree()
    text = script(apply(everything(needs)))
    # Without the demands on a real host, so that running is what the text would do.
    text = re.sub(r"(?m)^(\[ \"\$\(id -u|mkdir -p -m 0711|exec 9>|flock).*$", ":", text)
    text = text.replace("/run/mailwright", f"{host.root}/run/mailwright")
    for end in range(0, len(text) - 3, max(1, len(text) // 60)):
        host.run(text[:end])
        assert host.tree() == before


def test_contents_are_arguments_of_no_program(host):
    secret = File(host.path("etc/d/password"), b"correct horse\n", mode=0o600, secret=True, **host.me)
    for tool in ("base64", "install", "mv", "sync", "chown", "chmod", "mkdir", "rm"):
        host.pretend(tool, f'exec "$(PATH=/usr/bin:/bin command -v {tool})" "$@"')
    assert host.run(apply(compare(Needs(files=(secret,)), EMPTY))).returncode == 0
    assert (host.root / "host/etc/d/password").read_bytes() == b"correct horse\n"
    calls = host.called()
    assert any(c.startswith("install ") for c in calls)
    assert not [c for c in calls if "correct" in c or "Y29ycmVjd" in c]
