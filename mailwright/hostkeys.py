"""The fleet's own known_hosts file: `NAME.known_hosts` beside `NAME.yaml`, or what `ssh.known_hosts` names.

It holds the public host key of each machine (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) and is made to be
committed, so that every clone of the repository recognises the same machines. OpenSSH and pyinfra's paramiko
read the same file, and no other where there is one.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailwright.model.document import display
from mailwright.model.errors import HostKeyError
from mailwright.model.fleet import Machine
from mailwright.model.load import own_known_hosts
from mailwright.model.secrets_file import write_whole
from mailwright.sshconfig import configuration, endpoint

SSH_PORT = 22

_HEAD = """\
# The SSH host keys of this fleet: `mailwright hostkeys`. They are public; commit this file.
"""
_PATIENCE = 10
"""Seconds for a machine to show its key."""
_KEY = re.compile(r"(?P<kind>[a-z][a-z0-9@.-]+) (?P<blob>[A-Za-z0-9+/]{40,}={0,2})(?:\s|$)")


@dataclass(frozen=True)
class HostKey:
    """A public host key."""

    kind: str
    """As known_hosts writes it: `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`."""
    blob: str
    """The key itself, base64."""

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as ssh-keygen -l prints it (RFC 4648 base64 without padding)."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        """For the operator: kind and fingerprint."""
        return f"{self.kind} {self.fingerprint}"


def file_of(machine: Machine, fleet_file: Path) -> Path:
    """Where a machine's host key is pinned, whether or not the file is there.

    `machine` is one of a loaded fleet, whose paths are absolute.
    """
    return Path(machine.ssh.known_hosts) if machine.ssh.known_hosts else own_known_hosts(fleet_file)


def lookup_name(machine: Machine) -> str:
    """What ssh looks a machine up by: its address, with the port in brackets unless it is 22.

    Raises:
        HostKeyError: its `ssh.config` cannot be read.
    """
    address, port = endpoint(machine)
    return address if port == SSH_PORT else f"[{address}]:{port}"


def pinned(machine: Machine, file: Path) -> tuple[HostKey, ...]:
    """The keys that a file has for a machine; none where there is no file.

    Raises:
        HostKeyError: the file cannot be read.
    """
    name = lookup_name(machine)
    return tuple(key for line in _lines(file) if (key := _key(line)) and _names(line, name))


def scan(machine: Machine, kinds: Iterable[str] = ()) -> HostKey:
    """The key that a machine shows, one of `kinds` if it has such a one; nothing vouches for it.

    It is asked through OpenSSH, so that a jump host of `~/.ssh/config` is used, and left before a login.

    Raises:
        HostKeyError: it shows none.
    """
    key, said = _shown(machine, [*dict.fromkeys(kinds)])
    if key is None:
        reason = said or "it said nothing"
        raise HostKeyError(f"{machine.name}: shows no SSH host key at {lookup_name(machine)}: {reason}")
    return key


def pin(file: Path, machine: Machine, keys: Sequence[HostKey]) -> bool:
    """Let a file have these keys and no others for a machine; whether that changed it.

    Lines of others stay as they are, comments too.

    Raises:
        HostKeyError: the file cannot be read or written.
    """
    if set(pinned(machine, file)) == set(keys):
        return False
    name = lookup_name(machine)
    kept = [left for line in _lines(file) if (left := _without(line, name)) is not None]
    added = [f"{name} {key.kind} {key.blob} {machine.name}" for key in keys]
    _write(file, [*kept, *added])
    return True


def forget(file: Path, machine: Machine) -> bool:
    """Take a machine's keys out of a file; whether there were any.

    Raises:
        HostKeyError: the file cannot be read or written.
    """
    return pin(file, machine, ())


def own_file() -> Path:
    """The operator's own known_hosts, which counts for a fleet that pins no keys (ssh(1), FILES)."""
    return Path.home() / ".ssh" / "known_hosts"


def advice(machines: Iterable[Machine]) -> str | None:
    """What to say to the operator of machines whose keys nobody but him has pinned."""
    if all(machine.ssh.known_hosts for machine in machines):
        return None
    return (
        f"host keys are looked up in {display(own_file())}; `mailwright hostkeys pin INVENTORY` pins them "
        "beside the fleet file, for everybody who has that"
    )


def trouble(machine: Machine) -> HostKeyError | None:
    """Why the host key that a machine shows is refused, in one sentence; `None`: that is not why.

    `machine` is one of a loaded fleet, whose paths are absolute.

    Raises:
        HostKeyError: the machine shows no key.
    """
    file = Path(machine.ssh.known_hosts) if machine.ssh.known_hosts else own_file()
    known = pinned(machine, file)
    shown = scan(machine, (key.kind for key in known))
    if not known:
        return HostKeyError(
            f"{machine.name}: no SSH host key of it is pinned in {display(file)}, and it shows {shown}: "
            f"compare that with its console and run `mailwright hostkeys pin INVENTORY {machine.name}`"
        )
    if shown in known:
        return None
    return changed(machine, file, known, shown)


def changed(machine: Machine, file: Path, known: Sequence[HostKey], shown: HostKey) -> HostKeyError:
    """What to do about a machine that shows another key than the pinned ones."""
    old = " and ".join(str(key) for key in known)
    return HostKeyError(
        f"{machine.name}: its SSH host key has changed from {old} ({display(file)}) to {shown}: unless you "
        "know why, somebody may be in between; a machine that was installed anew is put back by `mailwright "
        "rebuild`, and a key that its console shows, too, is accepted by `mailwright hostkeys pin INVENTORY "
        f"{machine.name}`",
        changed=True,
    )


def _shown(machine: Machine, first: Sequence[str]) -> tuple[HostKey | None, str]:
    """The key that ssh writes down at first sight, and the last thing that it said."""
    with tempfile.TemporaryDirectory(prefix="mailwright-") as folder:
        file = Path(folder) / "known_hosts"
        options = [
            "BatchMode=yes",
            f"ConnectTimeout={_PATIENCE}",
            "GlobalKnownHostsFile=/dev/null",
            "HashKnownHosts=no",
            "LogLevel=ERROR",
            "PreferredAuthentications=none",
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={file}",
            *([f"HostKeyAlgorithms=^{_algorithms(first)}"] if first else []),
        ]
        command = ["ssh", *(part for option in options for part in ("-o", option))]
        config = configuration(machine)
        command += ["-F", str(config)] if config else ["-p", str(machine.ssh.port)]
        command += ["-l", machine.ssh.user, machine.ssh_address, "true"]
        try:
            ended = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=2 * _PATIENCE,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return None, "no answer"
        except OSError as error:
            raise HostKeyError(f"ssh does not run: {error.strerror}") from None
        keys = [key for line in _lines(file) if (key := _key(line))]
        said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        return (keys[0] if keys else None), (said[-1] if said else "")


def _algorithms(kinds: Sequence[str]) -> str:
    """Signature algorithms of kinds of keys: those of RSA have names of their own (RFC 8332)."""
    return ",".join(kinds).replace("ssh-rsa", "rsa-sha2-512,rsa-sha2-256")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise HostKeyError(f"{display(file)}: cannot be read: {error}") from None


def _key(line: str) -> HostKey | None:
    """The key of a line; none of a comment, nor of a line with a marker (`@cert-authority`, `@revoked`)."""
    if line.startswith(("#", "@")):
        return None
    found = _KEY.match(line.partition(" ")[2].strip())
    return HostKey(found["kind"], found["blob"]) if found else None


def _names(line: str, name: str) -> bool:
    """Whether a line is about a host: by a name, a pattern or a hash (sshd(8))."""
    patterns = line.partition(" ")[0]
    if not patterns or patterns.startswith(("#", "@")):
        return False
    if patterns.startswith("|1|"):
        return _hashed(patterns, name)
    found = False
    for pattern in patterns.split(","):
        if fnmatch.fnmatchcase(name, pattern.removeprefix("!").replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _without(line: str, name: str) -> str | None:
    """A line that is not about a host; `None` if nothing is left of it. What it says of others stays."""
    if not _names(line, name):
        return line
    patterns, _, rest = line.partition(" ")
    others = [pattern for pattern in patterns.split(",") if pattern != name]
    if patterns.startswith("|1|") or all(pattern.startswith("!") for pattern in others):
        return None
    left = f"{','.join(others)} {rest}"
    return f"{','.join([*others, f'!{name}'])} {rest}" if _names(left, name) else left


def _hashed(text: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in text.removeprefix("|1|").split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), "sha1").digest(), digest)


def _write(file: Path, lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    if not file.exists():
        text = _HEAD + text
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode(), mode=0o644)
    except OSError as error:
        raise HostKeyError(f"{display(file)}: cannot be written: {error.strerror}") from None
