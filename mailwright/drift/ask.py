"""What a machine is asked, in one remote command: its record, its baseline, and the same survey now."""

from __future__ import annotations

import base64
import binascii
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailwright.converge.shell import words
from mailwright.drift.places import BASELINE, BEFORE, RECORD, SURVEY, WANTED
from mailwright.drift.record import Applied
from mailwright.drift.survey import Survey, asking, parse
from mailwright.model.errors import UnknownError
from mailwright.model.role import Result
from mailwright.observe.places import LOCK
from mailwright.verify import batch
from mailwright.verify.gather import Run, packed

_PATIENCE = 120
"""Seconds to wait for a run that is changing the machine."""
_TEXT = 65_536
"""Octets of a file that are fetched to be shown."""
_SURVEYED = 64_000_000
"""Octets that an answer may unpack to. One that is cut there has no end, so that it is not whole."""
_GZIP = zlib.MAX_WBITS | 16

_HEADER, _FOOTER, _BUSY = "mailwright-drift 1", "mailwright-drift end", "mailwright-drift busy"

# apt's own log knows who upgraded what (apt.conf(5), Dir::Log; apt writes `name:arch (old, new)`).
# A kernel comes and goes under a name with its version.
_UNATTENDED = r"""zcat -f /var/log/apt/history.log* | awk '
  /^Start-Date:/ { by = 0 } /^Commandline: .*unattended-upgrade/ { by = 1 }
  by && /^(Install|Upgrade|Remove|Purge): / { did = $1; sub(/^[^ ]+ /, ""); n = split($0, all, /\), /)
    for (i = 1; i <= n; i++) {
      split(all[i], one, /[ (,)]+/); sub(/:.*/, "", one[1])
      version = did == "Upgrade:" ? one[3] : did == "Install:" ? one[2] : "-" one[2]
      print "unattended", one[1], version
    } }
'"""

QUESTION = f"""{{
exec 2>/dev/null </dev/null
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ -r {LOCK} ]; then
  exec 9<{LOCK}
  flock -s -w {_PATIENCE} 9 || {{ echo '{_BUSY}'; exit 0; }}
fi
echo '{_HEADER}'
echo "uid $(id -u)"
date '+clock %s'
[ -e {BEFORE} ] && echo unfinished
[ -s {WANTED} ] && echo "wanted $(base64 -w 0 {WANTED})"
[ -s {RECORD} ] && echo "record $(base64 -w 0 {RECORD})"
[ -s {BASELINE} ] && echo "baseline $(gzip -c {BASELINE} | base64 -w 0)"
[ -s {SURVEY} ] && echo "now $({asking(SURVEY)} | gzip -c | base64 -w 0)"
{_UNATTENDED}
echo '{_FOOTER}'
exit 0
}}
"""


@dataclass(frozen=True)
class Answer:
    """What a machine said."""

    off: float
    """Seconds by which its clock is ahead of the controller's; 0 if it could be right, however slow the
    answer came."""
    applied: Applied | None
    """Nothing: no apply has left a record here."""
    wanted: str
    """What it was to be (`record.wanted`)."""
    unfinished: bool
    """A run has begun to change it since, and has not ended well."""
    baseline: Survey | None
    now: Survey | None
    unattended: frozenset[tuple[str, str]]
    """Packages with the versions that unattended-upgrades brought; with `-VERSION`, removed."""


def ask(run: Run) -> Answer:
    """Ask a machine.

    Raises:
        UnknownError: it did not answer, or not with enough to judge.
    """
    began = time.time()
    output = run(packed(QUESTION))
    ended = time.time()
    lines = output.stdout.split("\n")
    if _BUSY in lines:
        raise UnknownError("another run is changing this machine")
    if _HEADER not in lines or _FOOTER not in lines:
        said = " / ".join((output.stderr or output.stdout).strip().split("\n"))[:300]
        raise UnknownError(f"its answer is not whole; it said: {said or 'nothing'}")
    said_by = dict(line.split(" ", 1) for line in lines if " " in line and not line.startswith("unattended"))
    if said_by.get("uid") != "0":
        raise UnknownError(f"it was looked at as user {said_by.get('uid')}; only root sees everything")
    try:
        clock = int(said_by["clock"])
    except (KeyError, ValueError):
        raise UnknownError("its answer has no time of day") from None
    return Answer(
        off=_outside(clock, began, ended),
        applied=Applied.read(_plain(said_by.get("record", "")).decode(errors="replace")),
        wanted=_plain(said_by.get("wanted", "")).decode(errors="replace"),
        unfinished="unfinished" in lines,
        baseline=_survey(said_by.get("baseline", "")),
        now=_survey(said_by.get("now", "")),
        unattended=frozenset(re.findall(r"^unattended (\S+) (\S+)$", output.stdout, re.MULTILINE)),
    )


def _outside(clock: int, began: float, ended: float) -> float:
    return min(clock + 1 - began, 0.0) or max(clock - ended, 0.0)


def texts(run: Run, paths: Sequence[str]) -> dict[str, str]:
    """What is in some files of a machine; without those that are no text, or cannot be read."""
    if not paths:
        return {}
    output = run(packed(batch.script([f"head -c {_TEXT} -- {words(path)}" for path in paths])))
    return dict(_texts(paths, batch.parse(output.stdout)))


def _texts(paths: Sequence[str], frames: Mapping[int, Result]) -> list[tuple[str, str]]:
    found = [
        (path, frames[i].stdout) for i, path in enumerate(paths) if i in frames and frames[i].status == 0
    ]
    return [(path, text) for path, text in found if "\0" not in text and "�" not in text]


def _plain(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _survey(text: str) -> Survey | None:
    try:
        unpacked = zlib.decompressobj(wbits=_GZIP).decompress(_plain(text), _SURVEYED)
    except zlib.error:
        return None
    return parse(unpacked.decode(errors="replace"))
