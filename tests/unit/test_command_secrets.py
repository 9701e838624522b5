"""`mailwright secrets`: what it says, what it never says, and what it leaves behind (nothing)."""

from __future__ import annotations

import os
import pty
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from mailwright.command.main import run
from mailwright.model.identities import identities
from mailwright.model.secrets_file import Vault

REPOSITORY = Path(__file__).parents[2]
FLEET = """\
owner: { name: Example, postmaster: postmaster@example.org }
providers:
  p: { type: rfc2136, server: 192.0.2.53, key_name: k, key: tsig/primary }
domains:
  - { name: news.example.com, provider: p, dkim: [{ selector: e1, algorithm: ed25519 }] }
machines:
  - { name: m, fqdn: m.example.com, ipv4: 192.0.2.1, roles: {} }
"""
PROVIDED = (
    FLEET.partition("machines:")[0]
    + """\
machines:
  - name: m
    fqdn: m.example.com
    ipv4: 192.0.2.1
    roles: &mx { base: {}, certificates: { mode: provided }, opendkim: {}, postfix: { submission: false } }
  - { name: n, fqdn: n.example.com, ipv4: 192.0.2.2, roles: *mx }
"""
)
KEY = "dkim/news.example.com/e1"


class Bench:
    """A fleet file with its secrets, and an editor that does as it is told."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.patch, self.capsys = folder, patch, capsys
        self.fleet = folder / "prod.yaml"
        self.fleet.write_text(FLEET)
        self.vault = Vault(folder / "prod.secrets.age", folder / "config/mailwright/identity", {})
        patch.chdir(REPOSITORY)  # the roles are there
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.delenv("VISUAL", raising=False)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        status = run(["secrets", arguments[0], str(self.fleet), *arguments[1:]])
        output = self.capsys.readouterr()
        return status, output.out, output.err

    def stdin(self, text: str) -> None:
        source = self.folder / "stdin"
        source.write_text(text)
        self.patch.setattr("sys.stdin", source.open())

    def editor(self, script: str) -> None:
        """`$1` is the file; what is written to `$2` can be looked at afterwards."""
        file = self.folder / "editor"
        file.write_text(
            f'#!/bin/sh\nset -- "$1" {self.folder}/seen\nstat -c \'%a %n\' "$1" "${{1%/*}}" > $2\n{script}\n'
        )
        file.chmod(0o700)
        self.patch.setenv("EDITOR", str(file))

    @property
    def recipient(self) -> str:
        return identities(self.vault.identity, {})[0].recipient

    @property
    def left(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if p.name.startswith(("mailwright-", ".")))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_init_says_what_it_made_and_what_is_to_be_set(bench: Bench):
    status, out, _ = bench.run("init")
    assert status == 0
    assert out.splitlines() == [
        f"made   {bench.vault.identity}: your identity; keep a copy where you keep such things",
        f"opens  {bench.recipient}",
        f"made   {KEY}",
        f"TO SET tsig/primary (named by providers.p.key): mailwright secrets set {bench.fleet} tsig/primary",
    ]
    assert bench.vault.read().secrets[KEY] not in out


def test_certificates_that_the_operator_provides_are_named_before_they_are_missed(bench: Bench):
    bench.fleet.write_text(PROVIDED)
    _, out, _ = bench.run("init")
    wanted = ["certificate/smtp/fullchain", "certificate/smtp/privkey"]
    assert [line.split()[2] for line in out.splitlines() if line.startswith("TO SET certificate/")] == wanted
    bench.stdin("a chain")
    bench.run("set", wanted[0])
    _, out, _ = bench.run("list")
    assert [line for line in out.splitlines() if "certificate/" in line] == [
        f"there    {wanted[0]}  certificate chain (PEM) for m.example.com; shared by 2 machines",
        f"MISSING  {wanted[1]}    private key (PEM) for m.example.com; shared by 2 machines",
    ]


def test_init_makes_nothing_where_roles_contradict_each_other(bench: Bench):
    bench.fleet.write_text(FLEET.replace("roles: {}", "roles: { base: {}, dovecot: {} }"))
    status, out, err = bench.run("init")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert not bench.vault.file.exists()
    assert not bench.vault.identity.exists()


def test_init_again_says_that_all_is_there(bench: Bench):
    bench.run("init")
    bench.stdin("c2VjcmV0\n")
    bench.run("set", "tsig/primary")
    assert bench.run("init") == (0, f"{bench.vault.file} holds all 2 secrets\n", "")


def test_init_in_ci_makes_no_identity_file(bench: Bench):
    identity = pyrage.x25519.Identity.generate()
    bench.patch.setenv("MAILWRIGHT_AGE_IDENTITY", str(identity))
    assert bench.run("init")[0] == 0
    assert not bench.vault.identity.exists()
    assert KEY in Vault(bench.vault.file, bench.vault.identity, dict(os.environ)).read().secrets


def test_init_lets_a_colleague_in(bench: Bench):
    bench.run("init")
    colleague = pyrage.x25519.Identity.generate()
    status, out, _ = bench.run("init", "--recipient", str(colleague.to_public()))
    assert status == 0
    assert out.startswith(f"opens  {colleague.to_public()}\n")
    assert pyrage.decrypt(bench.vault.file.read_bytes(), [colleague])


def test_a_colleague_without_access_learns_what_to_ask_for(bench: Bench):
    bench.run("init")
    bench.vault.identity.unlink()
    status, out, err = bench.run("init")
    assert (status, out) == (1, "")
    assert bench.vault.identity.exists()
    assert err.count("\n") == 1
    assert "rekey INVENTORY --add" in err


def test_set_reads_standard_input_and_shows_nothing(bench: Bench):
    bench.run("init")
    bench.stdin("hunter2hunter2\n")
    assert bench.run("set", "tsig/primary") == (0, "set tsig/primary\n", "")
    assert bench.vault.read().secrets["tsig/primary"] == "hunter2hunter2"
    bench.stdin("")
    status, _, err = bench.run("set", "tsig/primary")
    assert (status, err) == (1, "the secret tsig/primary is unchanged: there was no value\n")
    bench.stdin("x")
    assert bench.run("set", "Tsig")[0] == 1


def test_set_asks_on_a_terminal_without_echo(bench: Bench):
    bench.run("init")
    arguments = [
        sys.executable,
        "-m",
        "mailwright",
        "secrets",
        "set",
        str(bench.fleet),
        "tsig/primary",
    ]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, arguments)  # noqa: S606 - our own program
    shown = b""
    while b"tsig/primary: " not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"hunter2hunter2\n")
    while b"set tsig/primary" not in shown:
        shown += os.read(terminal, 1024)
    os.waitpid(child, 0)
    os.close(terminal)
    assert b"hunter2" not in shown
    assert bench.vault.read().secrets["tsig/primary"] == "hunter2hunter2"


def test_edit_shows_yaml_in_a_private_place_and_leaves_nothing(bench: Bench):
    bench.run("init")
    bench.editor("""printf '  new/one: "123"\\n' >> "$1"; touch "${1%/*}/.secrets.yaml.swp" """)
    assert bench.run("edit") == (0, "set new/one\n", "")
    assert bench.vault.read().secrets["new/one"] == "123"
    modes = [line.split()[0] for line in (bench.folder / "seen").read_text().splitlines()]
    assert modes == ["600", "700"]
    assert bench.left == []


def test_edit_keeps_every_value_as_it_was(bench: Bench):
    bench.run("init")
    odd = {
        "a": "no",
        "b": "1e3",
        "c": " x ",
        "d": "l1\nl2\n",
        "e": "#x: y",
        "f": "ü",
        "g": "-",
        "h": "a" * 6000,
        "i": "\tx\n  y\n",
    }
    with bench.vault.changing() as content:
        content.secrets.update(odd)
    before = bench.vault.read()
    bench.editor("true")
    assert bench.run("edit") == (0, "nothing changed\n", "")
    assert bench.vault.read() == before


def test_edit_that_fails_changes_nothing_and_leaves_nothing(bench: Bench):
    bench.run("init")
    before = bench.vault.file.read_bytes()
    bench.stdin("")
    value = bench.vault.read().secrets[KEY].splitlines()[1]
    for script in (
        "exit 3",
        'echo "  oops: [" >> "$1"',
        'echo "  oops: 12" >> "$1"',
        'echo "recipients: []" > "$1"',
        'echo "  Bad Name: x" >> "$1"',
        'tr -d ":" < "$1" > "$1.2"; mv "$1.2" "$1"',
    ):
        bench.editor(script)
        status, out, err = bench.run("edit")
        assert (status, out) == (1, ""), script
        assert err.count("\n") == 1, err
        assert value not in err
        assert bench.vault.file.read_bytes() == before
        assert bench.left == []
    bench.patch.setenv("EDITOR", "no-such-editor")
    assert bench.run("edit")[2].startswith("the editor 'no-such-editor' does not run")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_edit_that_is_told_to_stop_leaves_nothing(bench: Bench, number: signal.Signals):
    bench.run("init")
    bench.editor(f"kill -{number.value} $PPID; exec cat")
    arguments = [sys.executable, "-m", "mailwright", "secrets", "edit", str(bench.fleet)]
    before = bench.vault.file.read_bytes()
    # A shell's background job ignores the interrupt, and so would everything below it.
    done = subprocess.run(
        ["env", "--default-signal=INT", *arguments],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert bench.left == []
    assert bench.vault.file.read_bytes() == before


def test_list_tells_names_and_what_is_missing_but_no_values(bench: Bench):
    bench.run("init")
    bench.stdin("x")
    bench.run("set", "other")
    status, out, _ = bench.run("list")
    assert status == 0
    assert [line.split() for line in out.splitlines()] == [
        ["there", KEY, "signs", "for", "news.example.com", "(ed25519)"],
        ["there", "other", "not", "named", "by", "the", "fleet", "file"],
        ["MISSING", "tsig/primary", "named", "by", "providers.p.key"],
    ]
    assert stat.S_IMODE(bench.vault.file.stat().st_mode) == 0o600


def test_before_init_every_command_says_what_to_do(bench: Bench):
    for arguments in (("list",), ("set", "x"), ("edit",)):
        status, _, err = bench.run(*arguments)
        assert status == 1
        assert err == f"{bench.vault.file}: no such file: `mailwright secrets init INVENTORY` makes it\n"
