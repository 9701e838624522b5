"""The observation script, run by a real shell, and what is read out of its answer."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mailwright.model.needs import Absent, Directory, File, Needs, Package, Sysctl, Unit, User
from mailwright.observe import ObservationError, parse, script
from mailwright.observe.places import sibling, tombstone
from mailwright.observe.script import proc_path

SHELLS = [s for s in ("dash", "bash") if shutil.which(s)]


@pytest.fixture(params=SHELLS)
def ask(request):
    """Returns a function: needs to the observation of this very machine, by each shell there is."""

    def run(needs=None, tests=(), text=None):
        text = text if text is not None else script(needs or Needs(), tests)
        command = [request.param, "-c", 'eval "$(cat)"']
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        return parse(done.stdout)

    return run


def test_a_file_is_seen_with_digest_owner_mode_and_time(ask, tmp_path):
    path = tmp_path / "a.conf"
    path.write_bytes(b"x = 1\n")
    path.chmod(0o640)
    before = path.stat()
    seen = ask(Needs(files=(File(str(path), b""),))).paths[str(path)]
    assert seen.kind == "file"
    assert seen.sha256 == hashlib.sha256(b"x = 1\n").hexdigest()
    assert seen.mode == 0o640
    assert seen.owner == path.owner()
    assert seen.group == path.group()
    assert seen.ctime == pytest.approx(before.st_ctime, abs=1e-4)
    assert seen.mtime == pytest.approx(before.st_mtime, abs=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "quote's",
        'double"quote',
        "$(touch pwned)",
        "`touch pwned`",
        "; touch pwned",
        "back\\slash",
        "-rf",
        "ünïcode",
        "star*",
        "%s",
        "a\\n",
    ],
)
def test_no_name_is_read_as_shell_or_misread(ask, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"content")
    seen = ask(
        Needs(
            files=(File(str(path), b""),),
            directories=(Directory(str(tmp_path / "dir" / name)),),
            absent=(Absent(str(tmp_path / "gone" / name)),),
            units=(Unit("x.service", reads=(str(tmp_path / "reads" / name),)),),
        ),
        tests=[f"[ -e '{tmp_path}' ] # {name}"],
    )
    assert seen.paths[str(path)].sha256 is not None
    assert not Path("pwned").exists()


def test_kinds_are_told_apart_and_links_are_not_followed(ask, tmp_path):
    (tmp_path / "dir").mkdir(mode=0o750)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")  # reading it would wait for ever
    names = ("dir", "file", "link", "broken", "fifo", "missing")
    paths = ask(Needs(files=tuple(File(str(tmp_path / n), b"") for n in names))).paths
    kinds = {n: paths[str(tmp_path / n)].kind if str(tmp_path / n) in paths else None for n in names}
    assert kinds == {
        "dir": "directory",
        "file": "file",
        "link": "link",
        "broken": "link",
        "fifo": "other",
        "missing": None,
    }
    assert paths[str(tmp_path / "link")].sha256 is None


def test_more_files_than_fit_one_command_are_all_seen(ask, tmp_path):
    deep = tmp_path.joinpath(*["x" * 200] * 12)
    deep.mkdir(parents=True)
    files = [deep / str(n) for n in range(600)]
    for file in files:
        file.write_bytes(b"")
    assert sum(2 * len(str(file)) for file in files) > 2**21  # Linux takes 2 MiB of arguments
    paths = ask(Needs(files=tuple(File(str(file), b"") for file in files))).paths
    assert [file for file in files if paths[str(file)].sha256 is None] == []


def test_leftovers_and_marks_are_looked_for(ask, tmp_path):
    path = str(tmp_path / "a.conf")
    (tmp_path / ".a.conf.mailwright").write_bytes(b"")
    assert sibling(path) in ask(Needs(files=(File(path, b""),))).paths
    assert tombstone("/etc/x/y.conf") in script(Needs(absent=(Absent("/etc/x/y.conf"),)))


def test_accounts_come_from_the_local_files(ask):
    seen = ask(Needs(users=(User("root", home="/root"), User("nobody-here"))))
    assert (seen.users["root"].uid, seen.users["root"].home) == (0, "/root")
    assert "nobody-here" not in seen.users
    assert seen.groups["root"].gid == 0


def test_packages_are_seen_as_dpkg_sees_them(ask):
    if not shutil.which("dpkg-query"):
        pytest.skip("no Debian")
    seen = ask(Needs(packages=(Package("dpkg"), Package("no-such-package"))))
    assert seen.packages["dpkg"].installed
    assert seen.packages["dpkg"].version
    assert "no-such-package" not in seen.packages
    assert not seen.interrupted


def test_kernel_settings_are_read_whole(ask):
    """The value has three words with tabs between them, and /proc/sys answers a single read only."""
    seen = ask(Needs(sysctls=(Sysctl("net.ipv4.tcp_rmem", "1", "x"), Sysctl("vm.no_such_key", "1", "x"))))
    assert len(seen.sysctls["net.ipv4.tcp_rmem"].value.split(" ")) == 3
    assert "vm.no_such_key" not in seen.sysctls


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_sysctl_keys_become_paths_as_sysctl_d_says(key, path):
    assert proc_path(key) == path


def test_shell_tests_are_judged_one_by_one(ask):
    tests = ["true", "false", "( syntax error", "exit 0", "kill $$", "[ 1 = 1 ] && echo 'it''s'"]
    seen = ask(tests=tests)
    assert {t: seen.passed(t) for t in tests} == {
        "true": True,
        "false": False,
        "( syntax error": False,
        "exit 0": True,
        "kill $$": False,
        "[ 1 = 1 ] && echo 'it''s'": True,
    }
    assert not seen.passed("true # never asked")


def test_the_clock_and_the_system_are_told(ask):
    seen = ask()
    assert seen.clock == pytest.approx(time.time(), abs=60)
    assert seen.uid == os.getuid()
    assert f"ID={seen.distribution}" in Path("/etc/os-release").read_text().replace('"', "")


def answer(text):
    """What a plain sh says to a script."""
    command = ["sh", "-c", 'eval "$(cat)"']
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout


def with_only(tools, folder, text):
    """The script, finding no other programs than `tools`."""
    for tool in tools:
        if path := shutil.which(tool):
            (folder / tool).symlink_to(path)
    return text.replace("PATH=/usr/local/sbin", f"PATH={folder} IGNORED=/usr/local/sbin")


def test_half_a_script_runs_nothing(tmp_path):
    """A connection that breaks leaves the shell with the beginning of the text."""
    text = script(Needs(files=(File(str(tmp_path / "a"), b""),)), tests=[f"touch {tmp_path}/ran"])
    for end in range(1, len(text), max(1, len(text) // 40)):
        if text[:end].rstrip().endswith("exit 0\n}"):
            continue
        assert "mailwright-observation" not in answer(text[:end])
    assert not (tmp_path / "ran").exists()


def test_missing_tools_leave_their_part_empty(tmp_path):
    """A minimal host without dpkg-query and systemctl still answers the rest."""
    needs = Needs(packages=(Package("dpkg"),), units=(Unit("x.service"),), files=(File("/etc/passwd", b""),))
    tools = ("sh", "date", "id", "find", "sha256sum", "grep", "timeout")
    seen = parse(answer(with_only(tools, tmp_path, script(needs))))
    assert seen.paths["/etc/passwd"].sha256
    assert seen.packages == {}
    assert seen.units == {}


def test_a_host_without_find_is_an_error_and_not_a_host_without_files(tmp_path):
    text = with_only(("sh", "date", "id", "grep"), tmp_path, script(Needs()))
    with pytest.raises(ObservationError, match="find"):
        parse(answer(text))


def test_nothing_is_written(ask, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"x")
    before = {path: path.stat().st_ctime_ns for path in (tree, tree / "a")}
    files = tuple(File(str(tree / name), b"") for name in ("a", "b"))
    ask(Needs(files=files, directories=(Directory(str(tree / "d")),)))
    assert before == {path: path.stat().st_ctime_ns for path in (tree, tree / "a")}
    assert [path.name for path in tree.iterdir()] == ["a"]
