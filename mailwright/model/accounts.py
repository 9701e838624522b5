"""The numbers of service accounts: the same on every machine, whatever order packages came in.

Owners of files are numbers. Backups bring them back by name, but what an operator copies by hand, an image or
a disk that is moved to another machine does not: a queue is then somebody else's. Debian's packages keep an
account that is there before them, which is why these are made first; a machine that had a package before its
role keeps the numbers that Debian drew (`found="keep"`), and `mailwright verify` notes it.

Debian draws from 100 upwards and systemd from 999 downwards, so that these are hardly ever taken
(https://www.debian.org/doc/debian-policy/ch-opersys.html#uid-and-gid-classes).
"""

from __future__ import annotations

from mailwright.model.needs.host import Group, User


def _packaged(name: str, number: int, home: str, *brings: Group) -> User:
    """An account as its package would make it."""
    return User(name, uid=number, gid=number, home=home, found="keep", brings=brings)


POSTFIX = _packaged("postfix", 820, "/var/spool/postfix", Group("postdrop", 821))
OPENDKIM = _packaged("opendkim", 822, "/run/opendkim")
DOVECOT = _packaged("dovecot", 823, "/usr/lib/dovecot")
DOVENULL = _packaged("dovenull", 824, "/nonexistent")
INBOUND = User("inbound", uid=825, gid=825, home="/srv/mail")
"""Ours: whose the Maildirs are."""
UNBOUND = _packaged("unbound", 826, "/var/lib/unbound")
HAPROXY = _packaged("haproxy", 827, "/var/lib/haproxy")
CHRONY = _packaged("_chrony", 828, "/var/lib/chrony")

TABLE = (POSTFIX, OPENDKIM, DOVECOT, DOVENULL, INBOUND, UNBOUND, HAPROXY, CHRONY)
"""All of them. A role that adds an account takes the next number."""
