"""A systemd service and timer for the controller, that report what is new in the drift of a fleet. Pure."""

from __future__ import annotations

import re
from pathlib import Path

NAME = "mailwright-drift"

_SERVICE = """\
# /etc/systemd/system/{name}.service
# Says in the journal what has changed on the fleet's machines and in its DNS since the last report, and
# fails then (exit status 2 or 3), so that OnFailure= can send it on. Nothing new: not a word.
[Unit]
Description=Drift of the mail fleet {fleet}
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target
# OnFailure=a-unit-of-yours-that-sends-mail@%n.service

[Service]
Type=oneshot
# The account whose SSH key and age identity open the fleet; it needs no other right here.
User={user}
WorkingDirectory={folder}
StateDirectory={name}
StateDirectoryMode=0700
ExecStart={program} drift {fleet} --changes-only --state %S/{name}/report.json
TimeoutStartSec=30min
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
"""

_TIMER = """\
# /etc/systemd/system/{name}.timer
[Unit]
Description=Look for drift of the mail fleet {fleet} each night

[Timer]
OnCalendar=*-*-* 04:30
RandomizedDelaySec=15min
Persistent=yes

[Install]
WantedBy=timers.target
"""


def _word(text: Path | str) -> str:
    """A word of a command line (systemd.service(5), COMMAND LINES; systemd.unit(5), SPECIFIERS)."""
    said = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{said}"' if re.search(r"[\s\"';\\]", said) else said


def units(fleet: Path, folder: Path, program: str, user: str) -> str:
    """Both files with the lines that put them to use."""
    words = {"name": NAME, "fleet": _word(fleet), "folder": str(folder).replace("%", "%%")}
    words |= {"program": _word(program), "user": user}
    start = f"# systemctl daemon-reload && systemctl enable --now {NAME}.timer\n"
    return "\n".join([_SERVICE.format(**words), _TIMER.format(**words), start]).rstrip("\n")
