"""Runs that are killed with all they started, at a point of their work that is drawn."""

import os
import random
import signal
import subprocess
import time

SEED = int(os.environ.get("MAILWRIGHT_SEED", random.SystemRandom().randrange(10**6)))
"""Printed with what it led to, so that a round can be repeated."""


def kill_somewhere(argv, choose, *, among, counts=lambda _: True, **options):
    """Start a run and kill it; returns when, by what it had said last.

    The point is one of the first lines of its standard error that count (its number is drawn from `among`)
    and some moments after it, so that every part of the run is hit alike, whether it takes a minute
    (packages) or a blink. `options` are those of Popen.
    """
    process = subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )
    target, moment = choose.choice(among), choose.uniform(0, 1.5)
    doing, seen = "connecting", 0
    for line in process.stderr:
        if counts(line):
            doing, seen = line.strip(), seen + 1
        if seen == target:
            break
    time.sleep(moment)  # the random point itself, not a wait for something
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return f"{moment:.2f} s after “{doing}”"
