"""No secret shows in any process's arguments, in any output or log, or anywhere on a host but in its file."""

import base64
import re
import subprocess
import sys

import pytest

from mailwright.command.inventory import open_site
from tests.lab.deploying import pyinfra_command, run, verify

MINUTES = 3

MACHINE = "out1"

# The lab's containers share the controller's kernel, so one watcher here sees every process of both
# sides. It reads all argument lists in a loop and says each it has not seen before.
WATCHER = """
import glob, sys
seen = set()
while True:
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                line = file.read()
        except OSError:
            continue
        if line not in seen:
            seen.add(line)
            sys.stdout.buffer.write(line.replace(b"\\n", b" ").replace(b"\\0", b" ") + b"\\n")
            sys.stdout.buffer.flush()
"""
CONTROL = "a-word-that-the-watcher-must-see"


OPENSSH = "b3BlbnNzaC1rZXktdjEA"
"""How the first line of every private key in OpenSSH's format begins; the rest of that line says its kind."""


def telling(secret):
    """The lines of a secret that only it has."""
    lines = {line.strip() for line in secret.splitlines()}
    return {
        line for line in lines if len(line) >= 12 and "-----" not in line and not line.startswith(OPENSSH)
    }


def needles(secret):
    """What would give a secret away: each of its lines, and its base64 at any alignment."""
    lines = telling(secret)
    # A shift of the text shifts its base64; both ends depend on the neighbours and are left out.
    encoded = {
        base64.b64encode(b"x" * shift + line.encode()).decode()[4:][:40].rstrip("=")[:-4]
        for line in {*lines, secret.strip()}
        for shift in range(3)
    }
    return {needle for needle in lines | encoded if len(needle) >= 12}


@pytest.fixture(scope="module")
def secrets(lab):
    """The lab's secrets by name, and the bcrypt hashes that hosts hold of the passwords."""
    site = open_site(lab.plan.file)
    # The id of an access key is a name.
    names = [name for name in site.secrets.names() if not name.endswith("/s3-id")]
    values = {name: site.secrets.get(name) for name in names}
    assert any(name.startswith("dkim/") for name in values)
    assert any(name.startswith("submission/") for name in values)
    return values


@pytest.fixture(scope="module")
def secret_files(lab):
    """The paths that the machine's needs declare to be secret."""
    site = open_site(lab.plan.file)
    return {f.path for f in site.plan(site.fleet.machine(MACHINE)).merged.files if f.secret}


@pytest.fixture(scope="module")
def loud(deployed, tmp_path_factory):
    """A bare machine, deployed as loudly as pyinfra can: the output, and all arguments seen meanwhile."""
    deployed.reset([MACHINE])
    file = tmp_path_factory.mktemp("watch") / "argv"
    with file.open("wb") as out, subprocess.Popen([sys.executable, "-c", WATCHER], stdout=out) as watcher:
        try:
            argv = pyinfra_command(deployed.plan.file, "-y", "-vvv", "--debug", "--diff", "--limit", MACHINE)
            done = run(argv)
            deployed.host(MACHINE).run(["sh", "-c", "sleep 0.3", CONTROL]).require()
            wrong = verify(deployed.plan.file, MACHINE)
        finally:
            watcher.kill()
    assert done.returncode == 0, done.stderr[-4000:]
    assert wrong == {}
    return done.stdout + done.stderr, file.read_text(errors="replace")


def leaks(text, secrets):
    """Names of the secrets that a text gives away."""
    return sorted(name for name, value in secrets.items() if any(n in text for n in needles(value)))


def test_the_search_finds_what_it_looks_for(secrets):
    for name, value in secrets.items():
        assert leaks(f"before {value} after", secrets).count(name) == 1
        for prefix in (b"", b"=", b"yz"):
            assert name in leaks(base64.b64encode(prefix + value.encode() + b"\n").decode(), secrets)
        line = max(telling(value), key=len)
        assert name in leaks(base64.b64encode(b"PASSWORD " + line.encode() + b" and more").decode(), secrets)


@pytest.mark.proof("no secret shows in arguments, in the loudest output with diffs, or in logs")
def test_no_process_has_a_secret_among_its_arguments(loud, secrets):
    _, argv = loud
    assert CONTROL in argv, "the watcher is blind"
    assert re.search(r"^\S*pyinfra|pyinfra .*deploy\.py", argv, re.MULTILINE), (
        "it saw nothing of the controller"
    )
    assert "apt-get" in argv, "it saw nothing of the host"
    assert leaks(argv, secrets) == []


@pytest.mark.proof("no secret shows in arguments, in the loudest output with diffs, or in logs")
def test_the_loudest_output_shows_no_secret(loud, secrets):
    output, _ = loud
    assert "/etc/postfix/main.cf" in output, "the diffs are missing"
    assert leaks(output, secrets) == []


@pytest.mark.proof("no secret shows in arguments, in the loudest output with diffs, or in logs")
@pytest.mark.usefixtures("loud")
def test_no_log_of_the_host_holds_a_secret(secrets, lab):
    journal = lab.host(MACHINE).run(
        "journalctl --all --output=export | cat -v; find /var/log -type f -exec cat -v {} +"
    )
    assert "Starting" in journal.require().stdout
    assert leaks(journal.stdout, secrets) == []


@pytest.mark.usefixtures("loud")
def test_secrets_lie_in_their_files_and_nowhere_else(secrets, secret_files, lab):
    host = lab.host(MACHINE)
    private = {name: value for name, value in secrets.items() if not name.endswith("fullchain")}
    patterns = "\n".join(sorted({n for value in private.values() for n in needles(value)}))
    places = "/etc /home /opt /root /srv /tmp /usr/local /var /run"
    found = host.run(
        f"cat >/dev/shm/needles; grep -rlIF -f /dev/shm/needles {places}; rm /dev/shm/needles", stdin=patterns
    )
    assert set(found.stdout.split()) <= secret_files
    assert any("dkim" in path for path in found.stdout.split()), "the signing keys were not found at all"
    modes = host.run(["stat", "--format=%a %n", *sorted(secret_files)]).require().stdout.split("\n")
    assert [
        line for line in modes if line and line.partition(" ")[0] not in ("600", "640", "400", "440")
    ] == []


def test_passwords_reach_hosts_as_hashes_only(loud, secrets, lab):
    host = lab.host(MACHINE)
    hashes = host.run("grep -rhoE '\\$2[aby]\\$[0-9]{2}\\$[./A-Za-z0-9]{53}' /etc").stdout.split()
    assert len(hashes) == len([name for name in secrets if name.startswith("submission/")])
    output, argv = loud
    assert not [h for h in hashes if h in output + argv]
