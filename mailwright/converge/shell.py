"""Shell text for the host: what every script that changes a machine starts with. Pure.

Scripts travel on standard input and need POSIX sh, coreutils, util-linux and systemd only. No secret
is ever an argument of a program: contents are here-documents.
"""

from __future__ import annotations

import base64
import shlex

from mailwright.observe.places import LOCK, RUN

_PATIENCE = 600
"""Seconds to wait for the command of another run; an apt run may take minutes on a slow mirror."""

# One compound command: a shell that gets half of it, because the connection broke, finds a syntax
# error and runs nothing. File descriptor 9 holds the lock until the shell exits, however it exits.
_HEAD = f"""{{
exec </dev/null
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
set -eu
umask 077 # nobody else may hold the lock
fail() {{ printf '%s\\n' "$*" >&2; exit 1; }}
[ "$(id -u)" = 0 ] || fail 'this needs root: give the machine ssh.user root, or a user with passwordless sudo'
mkdir -p -m 0711 {RUN}
exec 9>{LOCK}
umask 022
flock -w {_PATIENCE} 9 || fail 'another run is still changing this machine'
"""

_TAIL = """exit 0
}
"""


def script(*parts: str) -> str:
    """Join parts into one script that runs alone on its host, as root, stopping at the first error."""
    return _HEAD + "".join(part if part.endswith("\n") else f"{part}\n" for part in parts if part) + _TAIL


def words(*items: str) -> str:
    """Quote items as the words of a command."""
    return shlex.join(items)


def here(command: str, content: bytes) -> str:
    """Run `command` with `content` on its standard input.

    The content is base64, whose alphabet cannot end the here-document; `command` decodes it.
    """
    encoded = base64.b64encode(content).decode()
    lines = "\n".join(encoded[i : i + 1000] for i in range(0, len(encoded), 1000))
    return f"{command} <<'MAILWRIGHT'\n{lines}\nMAILWRIGHT\n"
