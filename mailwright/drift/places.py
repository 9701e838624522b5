"""Where a host keeps the record of the last apply, and which of its folders are watched whole. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mailwright.model.needs import Needs

HOME = "/var/lib/mailwright/applied"
"""Root's alone (0700): digests and settings of the whole machine."""
OPERATION = "machine: record of the run"
"""The operation that writes there. What it says names the run itself, so that no two plans say the same."""
RECORD = f"{HOME}/record.json"
"""Who applied what and when (record.py)."""
WANTED = f"{HOME}/wanted"
"""The digest of what the machine was to be."""
SURVEY = f"{HOME}/survey"
"""The question whose answer is the baseline. It stays with it, so that the two always compare."""
BASELINE = f"{HOME}/baseline"
"""What the machine was like at the end of the last apply."""
BEFORE = f"{HOME}/before"
"""What it was like when a run began to change it; gone when that has ended well."""


@dataclass(frozen=True)
class Place:
    """A file, or a folder that is watched with all that is in it."""

    path: str
    noun: str
    """What an operator calls a thing there, such as `cron job`."""


WATCHED = (
    Place("/etc/apt/apt.conf", "apt setting"),
    Place("/etc/apt/apt.conf.d", "apt setting"),
    Place("/etc/apt/keyrings", "package key"),
    Place("/etc/apt/preferences", "package pin"),
    Place("/etc/apt/preferences.d", "package pin"),
    Place("/etc/apt/sources.list", "package source"),
    Place("/etc/apt/sources.list.d", "package source"),
    Place("/etc/apt/trusted.gpg", "package key"),
    Place("/etc/apt/trusted.gpg.d", "package key"),
    Place("/usr/share/keyrings", "package key"),
    Place("/etc/cron.allow", "cron job"),
    Place("/etc/cron.deny", "cron job"),
    Place("/etc/cron.d", "cron job"),
    Place("/etc/cron.hourly", "cron job"),
    Place("/etc/cron.daily", "cron job"),
    Place("/etc/cron.weekly", "cron job"),
    Place("/etc/cron.monthly", "cron job"),
    Place("/etc/crontab", "crontab"),
    Place("/var/spool/cron/crontabs", "crontab"),
    Place("/etc/systemd/system", "unit"),
    Place("/etc/systemd/system.control", "unit"),
    Place("/run/systemd/system", "unit"),
    Place("/run/systemd/system.control", "unit"),
    Place("/usr/local/lib/systemd", "unit"),
    Place("/etc/systemd", "systemd setting"),
    Place("/etc/sysctl.conf", "sysctl file"),
    Place("/etc/sysctl.d", "sysctl file"),
    Place("/etc/modprobe.d", "kernel module setting"),
    Place("/etc/modules", "kernel module setting"),
    Place("/etc/modules-load.d", "kernel module setting"),
    Place("/etc/sudoers", "sudo rule"),
    Place("/etc/sudoers.d", "sudo rule"),
    Place("/etc/pam.d", "PAM rule"),
    Place("/etc/security", "PAM rule"),
    Place("/etc/ssh", "SSH file"),
    Place("/root/.ssh", "SSH key file"),
    Place("/etc/nftables.conf", "firewall file"),
    Place("/etc/nftables.d", "firewall file"),
    Place("/etc/hosts", "hosts file"),
    Place("/etc/hosts.allow", "access file"),
    Place("/etc/hosts.deny", "access file"),
    Place("/etc/hostname", "host name file"),
    Place("/etc/mailname", "mail name file"),
    Place("/etc/resolv.conf", "resolver file"),
    Place("/etc/nsswitch.conf", "resolver file"),
    Place("/etc/gai.conf", "resolver file"),
    Place("/etc/localtime", "time zone"),
    Place("/etc/timezone", "time zone"),
    Place("/etc/network", "network setting"),
    Place("/etc/netplan", "network setting"),
    Place("/etc/fstab", "mount table"),
    Place("/etc/environment", "environment file"),
    Place("/etc/profile", "environment file"),
    Place("/etc/profile.d", "environment file"),
    Place("/etc/bash.bashrc", "environment file"),
    Place("/etc/ld.so.preload", "preloaded library list"),
    Place("/etc/rc.local", "boot script"),
    Place("/etc/tmpfiles.d", "tmpfiles rule"),
    Place("/etc/logrotate.d", "log rotation"),
    Place("/etc/default", "daemon default"),
    Place("/etc/alternatives", "alternative"),
    Place("/usr/local/bin", "local program"),
    Place("/usr/local/sbin", "local program"),
    Place("/usr/local/share/ca-certificates", "trusted certificate"),
    Place("/etc/postfix", "postfix file"),
    Place("/etc/aliases", "postfix file"),
    Place("/usr/sbin/policy-rc.d", "policy-rc.d"),
)

CHANGING = (
    "/etc/mailwright/certificates/*",
    "/etc/letsencrypt/*",
    "/etc/unbound/*.key",
    "*.dpkg-new",
    "*.dpkg-tmp",
    "*.mailwright",
)
"""What changes by itself, as `find -path` has it: certificates are renewed on the machine."""

_DROP_IN = re.compile(r"/systemd/system(\.control)?/[^/]+\.d/")
_WANTS = re.compile(r"/systemd/system/[^/]+\.(wants|requires|upholds)/")
_KEYS = re.compile(r"/\.ssh/authorized_keys2?$")
_ETC = re.compile(r"(/etc/(?!systemd/|ssl/|ssl$)[^/]+)/")


def paths_of(needs: Needs) -> tuple[str, ...]:
    """All paths that needs speak of."""
    files = [f.path for f in needs.files]
    return (*files, *(d.path for d in needs.directories), *(a.path for a in needs.absent))


def roots(needs: Needs) -> tuple[str, ...]:
    """The files and folders to look through: the watched ones, and those of /etc that roles write to."""
    said = [*(f.path for f in needs.files), *(d.path + "/" for d in needs.directories)]
    ours = [match[1] for path in said if (match := _ETC.match(path))]
    return _outermost([*(place.path for place in WATCHED), *ours])


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Without those that lie below another."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(f"{root}/") for root in kept):
            kept.append(path)
    return tuple(kept)


def noun(path: str, kind: str) -> str:
    """What an operator calls that path; `kind` is find's letter for what lies there."""
    if _DROP_IN.search(path):
        return "unit drop-in"
    if _WANTS.search(path):
        return "unit dependency"
    if _KEYS.search(path):
        return "SSH key file"
    if kind == "d":
        return "directory"
    fitting = [p for p in WATCHED if path == p.path or path.startswith(f"{p.path}/")]
    return max(fitting, key=lambda p: len(p.path)).noun if fitting else "file"
