"""What must hold of an sshd configuration before and after it is exchanged, and how sshd takes it. Pure."""

from __future__ import annotations

import re
import shlex

HOLDS = "! systemctl -q is-active ssh.socket && systemctl -q is-enabled ssh.service"
"""Shell test: sshd listens itself, now and after a boot. Where systemd does so for it (`ssh.socket`, which
some images enable), sshd ends when it is to reload: docs/decisions/sshd-listens.md."""
SAVE = f"""\
if {HOLDS}; then : >sshd-held; fi
if systemctl -q is-active ssh.socket; then : >sshd-socket; fi
if systemctl -q is-enabled ssh.service; then : >sshd-enabled; fi
"""
# Stopping sshd leaves connections alone (`KillMode=process`). It is enabled while it is stopped: systemd
# forgets a service that runs when its alias, sshd.service, is a name that it has looked for in vain before.
ACTIVATE = f"""\
if {HOLDS}; then systemctl reload ssh.service
else systemctl stop ssh.socket ssh.service; systemctl -q enable ssh.service; systemctl start ssh.service; fi
"""
REVERT = """\
if [ -e sshd-held ]; then systemctl reload ssh.service
else
  systemctl stop ssh.service
  [ -e sshd-enabled ] || systemctl -q disable ssh.service
  [ -e sshd-socket ] && systemctl start ssh.socket || systemctl start ssh.service
fi
"""
"""The texts of a `Guard`: sshd takes its configuration and listens itself from then on; and the way back."""

_WEAK = {
    "kexalgorithms": re.compile(r"nistp|^diffie-hellman"),
    "ciphers": re.compile(r"cbc|3des|arcfour"),
    "macs": re.compile(r"sha1|md5|umac-64"),
}
"""Algorithms that the role `base` takes away, or that OpenSSH offers no more unless it is told to."""
_INCLUDE = "^Include  */etc/ssh/sshd_config.d/"


def validation(user: str) -> str:
    """Return shell that refuses what sshd would not start with or not read, and what locks `user` out.

    sshd is given a copy of its main file that includes the would-be drop-ins, because not every kernel
    lets a validator see them at their own place.
    """
    login = shlex.quote(user)
    return f"""
refuse() {{ echo "$1" >&2; exit 1; }}
main={{root}}/etc/ssh/sshd_config
grep -qi '{_INCLUDE}' $main ||
  refuse '/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d: put the Include line back on top'
sed 's#{_INCLUDE}#Include {{root}}/etc/ssh/sshd_config.d/#I' $main >$main.staged
sshd -t -f $main.staged || exit 1
home=$(getent passwd {login} | cut -d: -f6)
grep -qs '^[^#]' "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2" ||
  refuse {shlex.quote(f"{user} has no authorized key: without passwords nobody could log in")}
"""


def weaknesses(said: str) -> list[str]:
    """Read `sshd -T` (its effective configuration) and name what a hardened one does not have."""
    settings = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    keyed = {
        "passwordauthentication": ("no",),
        "kbdinteractiveauthentication": ("no",),
        "permitemptypasswords": ("no",),
        "permitrootlogin": ("no", "without-password", "prohibit-password"),
    }
    found = [
        f"{key} {settings.get(key, '?')}" for key, good in keyed.items() if settings.get(key) not in good
    ]
    for kind, weak in _WEAK.items():
        found += [name for name in settings.get(kind, "").split(",") if weak.search(name)]
    return found
