"""The mailbox provider: Postfix and Dovecot, with rspamd as the judge of SPF, DKIM and DMARC.

It takes mail for every name at mailbox.example, adds what it found as Authentication-Results, and refuses
what fails a DMARC policy of reject. Names that begin with `unknown` do not exist, names that begin with
`full` are over quota: senders' bounces and retries have something to meet.
"""

from __future__ import annotations

from mailwright.lab import keys
from mailwright.lab.container import Seed
from mailwright.lab.plan import LabPlan
from mailwright.lab.world import WorldHost, template

DOMAIN = "mailbox.example"
MAIL = "/var/mail/mailbox.example"
"""Each user's Maildir is `MAIL/USER/Maildir`."""

UNITS = ("unbound.service", "rspamd.service", "dovecot.service", "postfix.service")


def mailbox_provider(plan: LabPlan) -> WorldHost:
    """The mailbox provider of a lab."""
    certificate, key = keys.tls_pair(plan, "mailbox")
    name = plan.host("mailbox").fqdn
    name_server = [str(i.ip) for i in plan.host("ns").interfaces]
    resolver = template(
        "unbound.conf.j2", zones=plan.anchored_zones, reverse=_reverse(plan), addresses=name_server
    )
    return WorldHost(
        packages=("postfix", "postfix-pcre", "rspamd", "dovecot-lmtpd", "unbound"),
        files=(
            Seed("/etc/resolv.conf", b"nameserver 127.0.0.1\n"),
            Seed("/etc/unbound/unbound.conf", resolver),
            Seed("/etc/unbound/anchors", keys.write_anchors(plan)),
            Seed(
                "/etc/postfix/main.cf",
                template("mailbox.main.cf.j2", name=name, domain=DOMAIN),
            ),
            Seed("/etc/postfix/recipients", template("mailbox.recipients")),
            Seed("/etc/postfix/server.crt", certificate),
            Seed("/etc/postfix/server.key", key, 0o600),
            Seed("/etc/mailname", f"{DOMAIN}\n".encode()),
            Seed("/etc/dovecot/dovecot.conf", template("dovecot.conf.j2", mail=MAIL)),
            Seed("/etc/rspamd/rspamd.conf", template("rspamd.conf.j2", name=name)),
            Seed("/etc/rspamd/suffixes", template("suffixes")),
        ),
        units=UNITS,
    )


def _reverse(plan: LabPlan) -> list[str]:
    """Reverse zones: unbound answers those of documentation networks itself unless told otherwise."""
    return [zone for zone in plan.anchored_zones if zone.endswith(".arpa.")]
