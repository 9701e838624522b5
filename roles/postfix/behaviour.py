"""What Postfix must be seen to do: before its configuration is exchanged, and ever after."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailwright.model.fleet import Machine
from mailwright.model.pools import MAIL, PROXY_OFFSET
from mailwright.model.role import Check, Result
from roles import handshake

# Postfix's own check says little: it exits 0 for a parameter that nobody knows, or a table that is not
# there. So whatever a tool has to complain of counts. smtpd -S reads the configuration as the servers on
# the ports will; postmap reads every table. A restriction's name is looked at only when a client is to be
# restricted, so each must be among the words that the program holds.
VALIDATE = r"""
c={root}/etc/postfix
d=$(postconf -c $c -h daemon_directory) || exit 1
complaints=$({
  postconf -c $c -n >/dev/null
  postconf -c $c -M >/dev/null
  postconf -c $c -P >/dev/null
  for program in $(postconf -c $c -M | awk '{ print $8 }' | sort -u); do
    [ -x "$d/$program" ] || echo "master.cf: there is no program $program"
  done
  for word in $({ postconf -c $c -nx; postconf -c $c -Px; } |
    grep -owE '(permit|reject|defer|check|warn|sleep)[a-z_]*' | sort -u); do
    grep -qawF "$word" "$d/smtpd" || echo "smtpd knows no restriction $word"
  done
  for table in texthash:$c/aliases texthash:$c/virtual texthash:$c/mailboxes texthash:$c/senders \
    texthash:$c/forged cidr:$c/fleet.cidr cidr:$c/peers.cidr regexp:$c/submission_headers; do
    postmap -c $c -q 192.0.2.1 $table >/dev/null
  done
  printf 'QUIT\r\n' | MAIL_CONFIG=$c MAIL_LOGTAG=validate timeout 20 "$d/smtpd" -S >/dev/null ||
    echo 'smtpd does not start with this configuration'
} 2>&1 | awk '!seen[$0]++')
[ -z "$complaints" ] || { printf '%s\n' "$complaints" >&2; exit 1; }
"""


def checks(machine: Machine, *, inbound: bool, submission: bool) -> Iterable[Check]:
    """Every port of the machine, by what it says to a client on the machine itself."""
    yield _effective(machine.fqdn.bare)
    yield _no_complaints()
    yield _resolver()
    yield _queue()
    if inbound:
        yield dialogue("port 25 greets, offers TLS and no login", 25, machine, offers=("STARTTLS",))
    if submission:
        yield dialogue("587 greets, offers TLS and no login before it", 587, machine, offers=("STARTTLS",))
        yield session("587 takes logins within TLS", 587, machine)
        yield session("465 takes logins within TLS", 465, machine)
    # Strangers on port 25 may be old; better a weak cipher than none (RFC 7435).
    for port, options in _starts(inbound=inbound, submission=submission):
        yield handshake.old_refused(port, _in_url(machine), options)
        if port != MAIL:
            yield handshake.weak_refused(port, _in_url(machine), options)


def _starts(*, inbound: bool, submission: bool) -> Iterable[tuple[int, str]]:
    """How openssl begins TLS on each port."""
    yield from (((MAIL, "-starttls smtp"),) if inbound else ())
    yield from (((587, "-starttls smtp"), (_IMPLICIT_TLS, "")) if submission else ())


def _effective(host: str) -> Check:
    wanted = {
        "myhostname": host,
        "smtp_helo_name": host,
        "smtpd_relay_restrictions": "reject",
        "smtpd_forbid_bare_newline": "reject",
        "smtpd_tls_auth_only": "yes",
        "disable_vrfy_command": "yes",
        "milter_default_action": "tempfail",
    }

    def judge(result: Result) -> str | None:
        seen = dict(line.split(" = ", 1) for line in result.stdout.splitlines() if " = " in line)
        wrong = [f"{name} is {seen.get(name)!r}" for name, value in wanted.items() if seen.get(name) != value]
        return "; ".join(wrong) or None

    return Check("the settings are in force", f"postconf -x {' '.join(wanted)}", judge, "mailwright apply")


def _no_complaints() -> Check:
    def judge(result: Result) -> str | None:
        return result.stdout.strip().splitlines()[0] if result.stdout.strip() else None

    command = "{ postconf -n; postconf -M; postconf -P; } 2>&1 >/dev/null"
    return Check("the configuration has no mistakes", command, judge, "mailwright apply")


def _resolver() -> Check:
    def judge(result: Result) -> str | None:
        return None if result.status == 0 else "its chroot names other name servers"

    command = "cmp -s /etc/resolv.conf /var/spool/postfix/etc/resolv.conf"
    # Debian's service copies what is newer (`cp -u`).
    remedy = "touch /etc/resolv.conf; systemctl start postfix-resolvconf"
    return Check("resolves names as the machine does", command, judge, remedy)


def _queue() -> Check:
    def judge(result: Result) -> str | None:
        return None if result.status == 0 else f"the queue cannot be read: {result.stderr.strip()}"

    return Check(
        "the queue is served", "postqueue -j >/dev/null && postfix status", judge, "systemctl status postfix"
    )


def stands_still() -> Check:
    """The queue of a closed machine goes nowhere."""

    def judge(result: Result) -> str | None:
        return result.stdout.strip() or None

    command = "! pidof -q qmgr || echo its queue manager runs"
    return Check("closed: nothing is delivered", command, judge, "mailwright apply")


_IMPLICIT_TLS = 465  # RFC 8314, 3.3


def here(machine: Machine) -> str:
    """The machine as it reaches itself: Postfix does not listen in a family without an address."""
    return "127.0.0.1" if machine.ipv4 else "::1"


def _in_url(machine: Machine) -> str:
    return here(machine) if machine.ipv4 else f"[{here(machine)}]"


# A dialogue from bash: the words of a client that takes its turns, and what the server said to each.
# `opening` is said before the greeting.
TALK = r"""timeout 20 bash -c 'exec 3<>/dev/tcp/{here}/{port}
answer() {{
  while IFS= read -r -t 15 line <&3; do
    printf "%s\n" "$line"
    case $line in ???-*) ;; *) break ;; esac
  done
}}
{opening}answer; {words}'"""


def say(*lines: str) -> str:
    """The part of `TALK` that says lines, each once the one before is answered."""
    return "; ".join(f'printf "{line}\\r\\n" >&3; answer' for line in lines)


def dialogue(name: str, port: int, machine: Machine, offers: tuple[str, ...], opening: str = "") -> Check:
    """A port that takes no mail of a stranger for a stranger, and has no login without TLS."""
    host = machine.fqdn.bare
    words = say("EHLO localhost", "VRFY root", "MAIL FROM:<>", "RCPT TO:<stranger@example.net>", "QUIT")

    def judge(result: Result) -> str | None:
        said = result.stdout.replace("\r", "")
        return spoken(host, offers, said or result.stderr)

    command = TALK.format(here=here(machine), port=port, opening=opening, words=words)
    return Check(name, command, judge, "mailwright apply")


def spoken(host: str, offers: tuple[str, ...], said: str) -> str | None:
    """What is wrong with the replies to a stranger who asks for a relay, or `None`."""
    features = re.findall(r"^250[- ](\S+)", said, re.MULTILINE)
    if not re.search(rf"^220[ -]{re.escape(host)} ESMTP", said, re.MULTILINE):
        return f"its greeting is {said.splitlines()[0] if said else said!r}"
    if missing := [feature for feature in offers if feature not in features]:
        return f"it does not offer {', '.join(missing)}"
    if "AUTH" in features:
        return "it offers AUTH without TLS"
    # Its reply tells nothing: restrictions may refuse the one address that was asked for, and no other.
    if "VRFY" in features:
        return "it answers VRFY"
    return None if re.search(r"^(530|55[0-4])", said, re.MULTILINE) else f"it would relay: {said!r}"


def session(name: str, port: int, machine: Machine, options: str = "") -> Check:
    """A session within TLS, from its first octet on or by STARTTLS, by a client that waits for each reply."""
    host = machine.fqdn.bare
    scheme = "smtps" if port % PROXY_OFFSET == _IMPLICIT_TLS else "smtp"
    command = (
        "timeout 20 curl --verbose --silent --show-error --insecure --ssl-reqd"
        f"{options} --request NOOP {scheme}://{_in_url(machine)}:{port} 2>&1"
    )

    def judge(result: Result) -> str | None:
        said = result.stdout.replace("\r", "")
        if "AUTH PLAIN" not in said:
            return f"it offers no AUTH PLAIN within TLS: {(result.stderr or said).strip()[-200:]}"
        found = re.search(r"subject:.*?CN ?= ?(\S+)", said)
        return None if found is None or found[1] == host else f"its certificate is {found[1]}'s"

    return Check(name, command, judge, "systemctl status dovecot")
