"""Many commands in one round trip: a shell script that runs them and frames what each of them said."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterator, Sequence

from mailwright.model.role import Result

LIMIT = 30
"""Seconds a command may take. After that it is ended and its status is `TIMED_OUT`."""

TIMED_OUT = 124
"""What timeout(1) exits with when it had to end the command."""

KILLED = 137
"""128 + SIGKILL: the command did not end when it was told to, or the machine ran out of memory."""

_OUTPUT = 1_000_000
"""Octets of each stream that are kept: a runaway command must not fill the operator's memory."""

_LANES = 3
"""How many commands run side by side where that is asked for: most of them wait for a daemon's answer."""

# Each command runs in a shell of its own without standard input, so that one that reads, exits, forks
# or changes directory harms no other. Its output goes through files: a daemon it leaves behind holds
# no pipe open. base64 keeps a frame on one line whatever the command printed; most print nothing on one of
# the two, and that takes no process.
# The files lie in memory, where a full disk does not shorten them: an output that was cut could pass for one
# in which nothing is wrong. Without room there, either, the script ends and what is missing is not known.
_HEAD = f"""\
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
d=$(mktemp -d -p /run 2>/dev/null || mktemp -d) || exit 1
trap 'rm -rf "$d"' EXIT
frame() {{
  timeout -k 2 "$2" sh -c "$3" </dev/null >"$d/out$lane" 2>"$d/err$lane"
  s=$?
  echo . 2>/dev/null >"$d/room$lane" || {{ echo "no room left in $d" >&2; exit 1; }}
  o= e=
  [ ! -s "$d/out$lane" ] || o=$(head -c {_OUTPUT} "$d/out$lane" | base64 -w 0)
  [ ! -s "$d/err$lane" ] || e=$(head -c {_OUTPUT} "$d/err$lane" | base64 -w 0)
  printf 'mailwright-frame %s %s o%s e%s .\\n' "$1" "$s" "$o" "$e"
}}
"""

_FRAME = re.compile(r"^mailwright-frame (\d+) (\d+) o([A-Za-z0-9+/=]*) e([A-Za-z0-9+/=]*) \.$", re.MULTILINE)


def script(commands: Sequence[str], *, limit: int = LIMIT, abreast: range = range(0)) -> str:
    """Return the POSIX-sh script that runs `commands` one after the other, each for `limit` seconds at most.

    Those at the positions `abreast` run some at a time; what follows waits for all of them. It needs
    coreutils only. The commands are visible to everybody on both machines: no secrets in them.
    """
    calls = [f"frame {number} {limit} {shlex.quote(command)}" for number, command in enumerate(commands)]
    before, after = calls[: abreast.start], calls[abreast.stop :]
    return _HEAD + "\n".join([*before, *_lanes(calls, abreast), *after, "exit 0", ""])


def _lanes(calls: Sequence[str], abreast: range) -> Iterator[str]:
    """Some calls in shells of their own, and with a file each: a pipe takes no line of such length whole."""
    for lane in range(min(_LANES, len(abreast))):
        own = "\n".join(calls[number] for number in abreast[lane::_LANES])
        yield f'( lane={lane}\n{own}\n) >"$d/lane{lane}" &'
    if abreast:
        yield 'wait; cat "$d"/lane*'


def parse(output: str) -> dict[int, Result]:
    """Read the script's output: the position of each command that came to an end, and its result.

    What is no whole frame (a login banner, a line that a broken connection cut) is left out: a command
    without a frame has not answered, which is not the same as having failed.
    """
    results: dict[int, Result] = {}
    for number, status, out, err in _FRAME.findall(output):
        try:
            results[int(number)] = Result(int(status), _text(out), _text(err))
        except binascii.Error:
            continue
    return results


def _text(field: str) -> str:
    return base64.b64decode(field, validate=True).decode("utf-8", errors="replace")
