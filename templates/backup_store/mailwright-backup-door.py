#!/usr/bin/python3 -IBS
"""What sshd runs for a machine that comes to add backups, whatever it asks for.

rclone's restic server in append-only mode on the machine's own folder, over standard input and output
(https://rclone.org/commands/rclone_serve_restic/). rclone knows no quota: this program counts, before and
while rclone works, and ends it beyond the quota. A pack that was under way then is never named by an index.
"""

import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

CONFIG = "/etc/mailwright/backup-doors.json"
_LOOK, _SHARE = 0.2, 20
"""Seconds between two counts, and how many times longer than a count they are at least."""


def main() -> int:
    """Serve the account that runs this; returns rclone's exit status."""
    account = pwd.getpwuid(os.getuid()).pw_name
    try:
        own = json.loads(Path(CONFIG).read_text())[account]
    except (OSError, ValueError, KeyError):
        return _refuse(f"nothing is kept here for {account}")
    folder, quota = own["folder"], own["quota"]
    if _filled(folder) > quota:
        return _refuse(f"the quota of {quota} octets is used up")
    os.umask(0o077)
    command = ["rclone", "serve", "restic", "--stdio", "--append-only", "--config", "/dev/null", folder]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "RCLONE_CACHE_DIR": "/nonexistent"}
    with subprocess.Popen(command, env=environment) as rclone:
        pause = _LOOK
        while True:
            try:
                return rclone.wait(pause)
            except subprocess.TimeoutExpired:
                began = time.monotonic()
                filled = _filled(folder)
                pause = max(_LOOK, _SHARE * (time.monotonic() - began))
                if filled > quota:
                    rclone.terminate()
                    return _refuse(f"the quota of {quota} octets is used up")


def _filled(folder: str) -> int:
    total = 0
    for below, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(below, name)).st_size  # noqa: PTH118 - this is done often
            except FileNotFoundError:
                continue
    return total


def _refuse(why: str) -> int:
    print(f"mailwright-backup-door: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
