"""What Postfix must be seen to do behind balancers: its ports there are asked as a balancer asks them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailwright.model.fleet import Machine
from mailwright.model.pools import HAND_OVER_PORT, HEALTH_PORT, MAIL
from mailwright.model.role import Check, Result
from roles.postfix.behaviour import TALK, dialogue, here, say, session
from roles.postfix.membership import HEALTH_LOG, Membership

# The PROXY protocol's first version is a line of text, and Postfix takes either.
# https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
_OPENING = 'printf "PROXY {family} {here} {here} 1024 25\\r\\n" >&3; '
_LOG_LIMIT = 200 * 1024 * 1024


def checks(machine: Machine, membership: Membership) -> Iterable[Check]:
    """Each port that is not for clients, and the log of the health checks."""
    for port, proxied in membership.proxied.items():
        if port == MAIL:
            name = f"{proxied} takes what balancers pass on of port 25"
            yield dialogue(name, proxied, machine, ("STARTTLS",), _opening(machine))
        else:
            name = f"{proxied} takes logins that balancers pass on"
            yield session(name, proxied, machine, " --haproxy-protocol")
    if membership.proxied:
        yield _healthy(machine)
        yield _small_log()
    if membership.peers:
        yield _closed_to_ourselves(machine)


def _opening(machine: Machine) -> str:
    return _OPENING.format(family="TCP4" if machine.ipv4 else "TCP6", here=here(machine))


def _healthy(machine: Machine) -> Check:
    def judge(result: Result) -> str | None:
        replies = re.findall(r"^(\d{3}) .*", result.stdout.replace("\r", ""), re.MULTILINE)
        if replies[:3] == ["220", "250", "250"]:
            return None
        last = result.stdout.strip().splitlines()[-1:] or [result.stderr.strip()]
        return f"balancers hear {last[0]!r} and send nobody here"

    words = say("EHLO localhost", "MAIL FROM:<>")
    command = TALK.format(here=here(machine), port=HEALTH_PORT, opening=_opening(machine), words=words)
    return Check("it is fit to take mail", command, judge, f"less {HEALTH_LOG}")


def _small_log() -> Check:
    def judge(result: Result) -> str | None:
        text = result.stdout.strip()
        if not text.isdigit():
            return f"it cannot be read: {result.stderr.strip()}"
        return None if int(text) <= _LOG_LIMIT else f"it has {int(text) // 2**20} MiB"

    command = f"cat {HEALTH_LOG} | wc -c"
    return Check("the log of the health checks is rotated", command, judge, "systemctl start logrotate")


def _closed_to_ourselves(machine: Machine) -> Check:
    def judge(result: Result) -> str | None:
        said = result.stdout.replace("\r", "")
        return None if re.search(r"^(530|55[0-4])", said, re.MULTILINE) else f"it would relay: {said!r}"

    words = say("EHLO localhost", "MAIL FROM:<>", "RCPT TO:<stranger@example.net>", "QUIT")
    command = TALK.format(here=here(machine), port=HAND_OVER_PORT, opening="", words=words)
    return Check("a queue is taken from other machines only", command, judge, "mailwright apply")
