"""The roles, in the order in which a machine takes them. Add one: module, templates, a line here."""

from __future__ import annotations

from mailwright.model.role import Role
from roles import (
    backup,
    backup_store,
    base,
    certificates,
    dovecot,
    firewall,
    haproxy,
    keepalived,
    opendkim,
    policies,
    postfix,
    unbound,
)

ROLES: tuple[Role, ...] = (
    base.ROLE,
    firewall.ROLE,
    unbound.ROLE,
    backup.ROLE,  # new credentials come before what the fence holds back is started
    certificates.ROLE,
    policies.ROLE,
    dovecot.ROLE,
    opendkim.ROLE,
    postfix.ROLE,
    haproxy.ROLE,
    keepalived.ROLE,
    backup_store.ROLE,
)
