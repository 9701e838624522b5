"""Where mailwright keeps its own things on a host. Both the observation and the operations need to know."""

from __future__ import annotations

from pathlib import PurePosixPath

RUN = "/run/mailwright"
LOCK = f"{RUN}/lock"
"""Held (flock) by every command that changes the host, shared by every observation: a command that a
killed run left behind and the next run never work at once."""

STAGE = f"{RUN}/stage"
"""Where files are prepared and validated. On a tmpfs, so secrets in it do not outlive a power loss."""

STAGE_ROOT = f"{STAGE}/root"
"""What `{root}` means to a validator."""

SYSCTL_FILE = "/etc/sysctl.d/60-mailwright.conf"

POLICY = "/usr/sbin/policy-rc.d"
"""Debian asks it before a package starts its daemon (invoke-rc.d(8))."""

POLICY_MARK = "# mailwright: packages are being installed"
"""In the policy-rc.d that is ours; somebody else's is left alone."""


def sibling(path: str) -> str:
    """The name under which the new `path` lies just before it is renamed into place.

    In the same directory, because rename(2) is atomic within a file system only; hidden, so that a
    `*.conf` glob does not read it.
    """
    p = PurePosixPath(path)
    return str(p.with_name(f".{p.name}.mailwright"))


def tombstone(path: str) -> str:
    """A file that is touched before `path` is removed: its time tells units that a file they read went."""
    return f"/var/lib/mailwright/removed{path}"


def taken(unit: str) -> str:
    """A file whose mtime is the moment at which `unit` last began a successful reload."""
    return f"{RUN}/taken/{unit}"
