"""One mail to a mailbox outside: what becomes of it says more than any configuration."""

from __future__ import annotations

import re
import shlex

from mailwright.model.errors import NeedsError, UnknownError
from mailwright.model.fleet import Fleet, Machine
from mailwright.model.role import Check, Result
from mailwright.model.verification import Probe

_PATIENCE = 25
"""Seconds for a verdict of the recipient's server: fewer than any command of a verification has."""

# The log has the queue id by the Message-ID, and the verdict by the queue id. Nothing leaves unsigned
# (milter_default_action = tempfail), and what the signers sign a check of theirs asks.
_SEND = """id="mailwright-$(date +%s)-$$@{host}"
log() {{ journalctl -q --no-pager --since=@$began SYSLOG_FACILITY=2 -o cat; }}
began=$(date +%s)
printf '%s\\n' "From: <"{sender}">" "To: <"{recipient}">" 'Subject: mailwright verify --active: {host}' \\
  "Message-ID: <$id>" 'Auto-Submitted: auto-generated' '' 'A probe of {host}, sent by mailwright verify.' |
  sendmail -f {sender} -- {recipient} || exit 1
until [ $(($(date +%s) - began)) -ge {patience} ]; do
  [ -n "$queued" ] || queued=$(log | sed -n "s/^\\([0-9A-Za-z]*\\): message-id=<$id>$/\\1/p" | head -n 1)
  if [ -n "$queued" ]; then
    log | grep "^$queued: .*status=" && exit 0
  fi
  sleep 0.3
done
echo "queued=$queued"
"""


def probe(fleet: Fleet, machine: Machine, wanted: Probe) -> Check:
    """Send a mail, and wait for what the recipient's server says to it.

    Raises:
        NeedsError: its sender is of no domain of the fleet, so that nothing would sign it.
    """
    domain = wanted.sender.rpartition("@")[2]
    if domain not in {d.name.bare for d in fleet.domains}:
        raise NeedsError(f"verify.probe.sender: {domain} is no domain of this fleet")
    command = _SEND.format(
        host=machine.fqdn.bare,
        sender=shlex.quote(wanted.sender),
        recipient=shlex.quote(wanted.recipient),
        patience=_PATIENCE,
    )
    return Check(
        "a probe is delivered", command, _judge, "journalctl SYSLOG_FACILITY=2 has what the other server says"
    )


def _judge(result: Result) -> str | None:
    found = re.search(r"status=(\w+) (.*)", result.stdout)
    if result.status == 1:
        return f"it was not queued: {result.stderr.strip()[:300]}"
    if found is None:
        queued = result.stdout.rpartition("queued=")[2].strip()
        where = f"it is queued as {queued}" if queued else "it is not seen in the log"
        raise UnknownError(f"no verdict in {_PATIENCE} s; {where}")
    status, said = found.groups()
    if status == "deferred":
        raise UnknownError(f"not yet delivered, and tried again: {said[:300]}")
    return None if status == "sent" else f"{status}: {said[:300]}"
