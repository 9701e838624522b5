"""How a Postfix fares: what its log complains of, and how old its mail is."""

from __future__ import annotations

import re

from mailwright.model.errors import UnknownError
from mailwright.model.role import Check, Result

QUEUE = "/var/spool/postfix"
_GRACE = 10
"""Seconds after a start in which daemons may still miss each other."""
_LINES = 1000
"""Of the log, the latest ones that are errors."""
_ALPHABET = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
"""The digits of long queue ids, base 52 (https://www.postfix.org/postconf.5.html#enable_long_queue_ids)."""
_SECONDS_DIGITS = 6
_STUCK = 30
"""Minutes after which pickup(8) should have taken what a program of the machine handed in."""
_LATE = 2 * 3600
"""Seconds beyond the lifetime until the last try: an hour of back-off, and the queue manager's rounds."""

# Postfix's daemons and Dovecot; what people type complains to them.
_TYPED = (
    "mailq|newaliases|post(?:alias|cat|conf|drop|fix|fix-script|kick|lock|log|map|multi|queue|super)|sendmail"
)
_LINE = re.compile(
    rf"^\S+ \S+ (?:postfix(?:/[^/\[ ]+)*/(?!(?:{_TYPED})\[)[^/\[ ]+|dovecot)\[\d+\]: (?P<said>.*)$",
    re.MULTILINE,
)


def log(unit: str, hours: int) -> Check:
    """No error in the mail log since the services started, or in the last hours if that is longer ago.

    Postfix logs `fatal`, `panic` and `error` with syslog's priorities 2 and 3, warnings with 4 (vstream of
    msg_syslog(3)); so a restart, once the cause is gone, begins anew.
    """
    command = f"""since=$(($(date +%s) - {hours * 3600}))
for at in $(systemctl show --timestamp=unix -P InactiveExitTimestamp {unit} dovecot.service); do
  at=${{at#@}}
  case $at in *[!0-9]*) ;; *) [ $((at + {_GRACE})) -le $since ] || since=$((at + {_GRACE})) ;; esac
done
journalctl -q --no-pager --since=@$since -p err SYSLOG_FACILITY=2 -n {_LINES} -o short-iso && echo read"""

    def judge(result: Result) -> str | None:
        if not result.stdout.endswith("read\n"):
            raise UnknownError(f"the journal cannot be read: {result.stderr.strip()[:200]}")
        said = [found["said"] for found in _LINE.finditer(result.stdout)]
        if not said:
            return None
        return f"{len(said)} error{'s' * (len(said) > 1)}, the last one: {said[-1][:300]}"

    remedy = f"journalctl -p err SYSLOG_FACILITY=2; once that is put right, systemctl restart {unit}"
    return Check("the mail log has no errors", command, judge, remedy)


def queue_age(lifetime: int) -> Check:
    """Nothing is older than mail gets, none is stuck before the queue, and none is put away as damaged.

    A long queue id begins with the second of the mail's arrival and outlives a restored or handed over
    queue. `lifetime`: seconds for which mail is tried.
    """
    command = f"""cd {QUEUE} || exit 1
date +%s
find incoming active deferred -type f -printf '%f\\n' 2>/dev/null |
  awk 'substr($0, 11, 1) == "z" && (first == "" || $0 < first) {{ first = $0 }} END {{ print first }}'
find maildrop -type f -mmin +{_STUCK} 2>/dev/null | wc -l
find corrupt -type f | wc -l"""

    def judge(result: Result) -> str | None:
        lines = result.stdout.split("\n")
        if result.status != 0 or len(lines) < 4:  # noqa: PLR2004 - one for each of the questions
            raise UnknownError(f"the queue cannot be read: {result.stderr.strip()[:200]}")
        now, first, stuck, corrupt = lines[:4]
        faults = []
        age = int(now) - arrival(first) if first else 0
        if age > lifetime + _LATE:
            faults.append(f"{first} has been here for {age // 3600} hours, {lifetime // 3600} are the most")
        if int(stuck):
            faults.append(f"{stuck} not picked up in {_STUCK} minutes")
        if int(corrupt):
            faults.append(f"{corrupt} damaged, in {QUEUE}/corrupt")
        return "; ".join(faults) or None

    remedy = "postqueue -p; postcat -q ID; journalctl -u postfix* says what keeps it"
    return Check("no mail is stuck", command, judge, remedy)


def arrival(queue_id: str) -> int:
    """The second at which a message arrived, by its long queue id."""
    seconds = 0
    for digit in queue_id[:_SECONDS_DIGITS]:
        seconds = seconds * len(_ALPHABET) + _ALPHABET.index(digit)
    return seconds
