"""Damages for the checks of policies, dovecot, opendkim, postfix, haproxy and keepalived."""

import re

from tests.mutation.registry import damages
from tests.mutation.sabotage import Damage
from tests.mutation.served import HAPROXY, haproxy
from tests.mutation.shells import KEPT, away, edit, extra, in_place, service

# --- policies


@damages("check-policies-the policy of * is served as published")
def policy(subject, expectation):
    domain = re.search(r"the policy of (\S+) is", expectation.name)[1]
    file = f"/etc/mailwright/policies/{domain}.txt"
    for what, expression in (
        ("it asks for less", "s/enforce/testing/"),
        ("it names another MX", "s/^mx: .*/mx: other.example/"),
    ):
        yield Damage(what, *edit(subject, file, in_place(expression, file)), (f"file-{file}",))
    yield Damage("it is gone", *away(file), (f"file-{file}",))


@damages("check-policies-* serves nothing else")
def pages(subject, expectation):
    file = "/etc/nginx/nginx.conf"
    how = edit(subject, file, in_place("s/return 404;/return 200 welcome;/", file), "systemctl reload nginx")
    yield Damage("there is a page", *how, (f"file-{file}", *subject.dependents(file)))


@damages("check-policies-443 refuses *")
def web_tls(subject, expectation):
    file = "/etc/nginx/nginx.conf"
    also = (f"file-{file}", *subject.dependents(file), "check-policies-443 refuses *")
    weak = "s/ssl_ciphers .*/ssl_ciphers ALL:@SECLEVEL=0;/"
    old = f"{weak}; s/ssl_protocols .*/ssl_protocols TLSv1.1 TLSv1.2 TLSv1.3;/"
    expression = old if "1.2" in expectation.name else weak
    yield Damage(
        "it takes it", *edit(subject, file, in_place(expression, file), "systemctl reload nginx"), also
    )


# --- dovecot

_LOGINS = ("check-postfix-*", "outside-postfix-*")


@damages("check-dovecot-the password file has every login")
def logins(subject, expectation):
    file = "/etc/dovecot/submission.passwd"
    login = subject.site.fleet.senders[0].login
    how = edit(subject, file, in_place(f"/^{login}:/d", file))
    yield Damage("one is missing", *how, (f"file-{file}", *subject.dependents(file)))


@damages("check-dovecot-a wrong password is refused")
def password(subject, expectation):
    file = "/etc/dovecot/submission.passwd"
    login = subject.site.fleet.senders[0].login
    how = edit(subject, file, in_place(f"s/^{login}:.*/{login}:::::::nopassword=y/", file))
    yield Damage("any is taken", *how, (f"file-{file}", *subject.dependents(file)))


@damages("check-dovecot-the authentication socket answers")
def auth(subject, expectation):
    also = (*_LOGINS, "check-dovecot-a wrong password is refused")
    yield Damage("it is gone", *away("/var/spool/postfix/private/auth"), also)


@damages("check-dovecot-it listens on no network port")
def network(subject, expectation):
    file = "/etc/dovecot/dovecot.conf"
    text = r"\nservice auth {\n  inet_listener sabotage {\n    port = 4190\n  }\n}\n"
    how = edit(subject, file, f"printf '{text}' >>{file}", "systemctl restart dovecot")
    yield Damage("it does", *how, (f"file-{file}", *subject.dependents(file), "listeners", *_LOGINS))


# --- opendkim

_SOCKETS = "/var/spool/postfix/opendkim"


@damages("check-opendkim-* answers")
def signer(subject, expectation):
    socket = expectation.name.removeprefix("check-opendkim-").removesuffix(" answers")
    yield Damage("it is gone", *away(f"{_SOCKETS}/{socket}"), ("check-postfix-*", "check-opendkim-mail of *"))


@damages("check-opendkim-mail of * is signed by *")
def signature(subject, expectation):
    domain, selector = re.search(r"mail of (\S+) is signed by (\S+)", expectation.name).groups()
    kind = _kind(selector)
    table = f"/etc/opendkim/{kind}/signers"
    restart = f"systemctl restart 'opendkim-sign@{kind}-*'"
    how = edit(subject, table, in_place(f"/{re.escape(domain)}/d", table), restart)
    also = (f"file-{table}", *subject.dependents(table), "check-postfix-*", f"check-opendkim-{kind}-*")
    yield Damage("the signing table lacks the domain", *how, also)


@damages("check-opendkim-signs with the published key *")
def key(subject, expectation):
    name = expectation.name.rpartition(" ")[2]
    file = f"/etc/opendkim/keys/{name}.pem"
    make = f"openssl genpkey -algorithm {_kind(name.rpartition('/')[2])} 2>/dev/null >{file}"
    also = (f"file-{file}", *subject.dependents(file), "check-opendkim-mail of *")
    yield Damage("the key is another", *edit(subject, file, make), also)


def _kind(selector):
    """The algorithm of a selector in these fleets."""
    return "ed25519" if selector.startswith("e") else "rsa"


# --- postfix

_MAIN, _MASTER = "/etc/postfix/main.cf", "/etc/postfix/master.cf"
_RELOAD = "postfix reload 2>/dev/null"
_SERVICES = {25: "smtp", 587: "submission", 465: "submissions"}


def main_cf(subject, line):
    how = edit(subject, _MAIN, f"postconf -e {line!r}")
    return how, (f"file-{_MAIN}", *subject.dependents(_MAIN))


def master_cf(subject, port, *settings, service=""):
    """(damage, undo), globs: a service of master.cf with other settings of its own, in force."""
    name = service or f"{_SERVICES.get(port, port)}/inet"
    return _with_settings(subject, port, [f"{name}/{setting}" for setting in settings])


def _with_settings(subject, port, settings):
    """The same for settings that name their services (postconf(1), -P)."""
    words = " ".join(f"'{setting}'" for setting in settings)
    how = edit(subject, _MASTER, f"postconf -P {words}", _RELOAD)
    seen = (f"check-postfix-{port} *", f"outside-postfix-{port} *")
    return how, (f"file-{_MASTER}", *subject.dependents(_MASTER), *seen)


@damages("check-postfix-the settings are in force")
def settings(subject, expectation):
    for what, line in (
        ("EHLO says another name", "smtp_helo_name = other.example"),
        ("filters may fail", "milter_default_action = accept"),
        ("bare newlines are taken", "smtpd_forbid_bare_newline = no"),
        ("relaying is permitted", "smtpd_relay_restrictions = check_client_access static:OK, reject"),
    ):
        how, also = main_cf(subject, line)
        yield Damage(what, *how, (*also, "check-postfix-*", "outside-postfix-*"))


@damages("check-postfix-the configuration has no mistakes")
def mistakes(subject, expectation):
    how, also = main_cf(subject, "no_such_setting = 1")
    yield Damage("there is a setting that nobody knows", *how, also)


@damages("check-postfix-resolves names as the machine does")
def chroot(subject, expectation):
    file = "/var/spool/postfix/etc/resolv.conf"
    yield Damage(
        "its chroot asks another resolver", *edit(subject, file, f"echo nameserver 192.0.2.53 >>{file}")
    )


@damages("check-postfix-the queue is served")
def queue(subject, expectation):
    yield Damage("its master is not known", *away("/var/spool/postfix/pid/master.pid"))


@damages(
    "check-postfix-port 25 greets*", "check-postfix-587 greets*", "check-postfix-* takes what balancers*"
)
def dialogue(subject, expectation):
    port = int(re.search(r"-(?:port )?(\d+) ", expectation.name)[1])
    # postscreen lets the machine itself pass to the smtpd behind it, and only that one speaks.
    service = "smtpd/pass" if port != 587 else ""
    ways = [("it has another name", "smtpd_banner=other.example"), ("it offers no TLS", _PLAIN)]
    if port == 587:
        ways += [
            ("it takes logins without TLS", "smtpd_tls_security_level=may", "smtpd_tls_auth_only=no"),
            ("it relays for everybody", *_OPEN),
        ]
    elif port == 25:
        ways += [("it answers VRFY", "disable_vrfy_command=no"), ("it relays for everybody", *_OPEN)]
    for what, *changes in ways:
        how, also = master_cf(subject, port, *changes, service=service)
        seen = () if port == 587 else ("check-postfix-*25 *", "outside-postfix-25 *")
        # A parameter of ours that this service alone referred to is a mistake without it.
        unused = ("check-postfix-the configuration has no mistakes",) if set(_OPEN) <= set(changes) else ()
        yield Damage(what, *how, (*also, f"check-postfix-port {port} *", *seen, *unused), patience=25)


_PLAIN = "smtpd_tls_security_level=none"
_ALL = "check_client_access,static:OK,reject"
"""Everything. smtpd(8) starts as no open relay: there must be a word that rejects, and be reachable."""
_STAGES = ("client", "sender", "relay", "recipient")
_OPEN = (*(f"smtpd_{stage}_restrictions={_ALL}" for stage in _STAGES), "smtpd_tls_security_level=may")


@damages("outside-postfix-25 at * takes mail for us alone")
def exchanger(subject, expectation):
    # postscreen speaks to strangers, and gives at once to smtpd whom it knows from before.
    for what, *changes in (
        (
            "it has another name",
            "smtp/inet/smtpd_banner=other.example",
            "smtpd/pass/smtpd_banner=other.example",
        ),
        (
            "it offers no TLS",
            "smtp/inet/postscreen_tls_security_level=none",
            "smtpd/pass/smtpd_tls_security_level=none",
        ),
    ):
        how, also = _with_settings(subject, 25, changes)
        # The smtpd behind it answers what balancers pass on, too.
        yield Damage(what, *how, (*also, "check-postfix-*port 25*"), patience=25)


@damages("*-postfix-* takes logins *")
def login(subject, expectation):
    port = int(re.search(r"postfix-(\d+) ", expectation.name)[1])
    how, also = master_cf(subject, port, "smtpd_sasl_auth_enable=no")
    yield Damage("it takes none", *how, also)


@damages("*-postfix-* refuses TLS below 1.2")
def old_tls(subject, expectation):
    port = int(re.search(r"postfix-(\d+) ", expectation.name)[1])
    old = [f"smtpd_tls_{kind}protocols=>=TLSv1" for kind in ("", "mandatory_")]
    if port == 25:  # postscreen has TLS from tlsproxy(8), which reads main.cf
        settings = " ".join(f"'{setting}'" for setting in (*old, *_WEAK))
        how = edit(subject, _MAIN, f"postconf -e {settings}", _RELOAD)
        seen = ("check-postfix-* TLS below 1.2", "check-postfix-* weak ciphers", "outside-postfix-*")
        yield Damage("it speaks TLS 1.1", *how, (f"file-{_MAIN}", *subject.dependents(_MAIN), *seen))
    else:
        how, also = master_cf(subject, port, *old, *_WEAK)
        yield Damage("it speaks TLS 1.1", *how, also)


_WEAK = (
    *(f"tls_{grade}_cipherlist=ALL:@SECLEVEL=0" for grade in ("high", "medium")),
    "smtpd_tls_mandatory_exclude_ciphers=",
)


@damages("check-postfix-* refuses weak ciphers")
def weak_ciphers(subject, expectation):
    port = int(re.search(r"postfix-(\d+) ", expectation.name)[1])
    how, also = master_cf(subject, port, *_WEAK)
    yield Damage("it takes SHA-1", *how, also)


@damages("check-postfix-the mail log has no errors")
def errors(subject, expectation):
    line = "logger --priority mail.err --tag 'postfix/smtpd[1]' 'fatal: sabotage'"
    damage, undo = service("errors", f'sh -c "while :; do {line}; sleep 2; done"')
    yield Damage("a daemon dies again and again", damage, f"{undo}; systemctl restart postfix", patience=30)


@damages("check-postfix-no mail is stuck")
def stuck(subject, expectation):
    queue, handed = "/var/spool/postfix", "/var/spool/postfix/maildrop/sabotage"
    damage, undo = extra(f"{queue}/deferred/3/3000000000z1", "")
    folder = f"install -d -o postfix -g postfix -m 700 {queue}/deferred/3"
    yield Damage("a message is years old", f"{folder}; {damage}", undo)
    damage, undo = extra(handed, "")
    yield Damage("nobody takes what was handed in", f"{damage}; touch -d '2 hours ago' {handed}", undo)
    yield Damage("a message is damaged", *extra(f"{queue}/corrupt/sabotage", ""))


@damages("check-postfix-it is fit to take mail")
def health(subject, expectation):
    how, also = master_cf(subject, 10024, "queue_minfree=1000000000000")
    yield Damage("its disk is taken for full", *how, also)
    how, also = master_cf(subject, 10024, "smtpd_milters=unix:opendkim/none.sock")
    yield Damage("a signer of its is dead", *how, also)


@damages("check-postfix-the log of the health checks is rotated")
def log(subject, expectation):
    file = "/var/log/postfix-health.log"
    damage, undo = away(file, f"truncate -s 220M {file}")
    yield Damage("it has grown", damage, undo)


@damages("check-postfix-a probe is delivered")
def probe(subject, expectation):
    how = edit(subject, _MAIN, "postconf -e 'default_transport = error:5.3.0 sabotage'", _RELOAD)
    yield Damage("all mail is returned", *how, (f"file-{_MAIN}", *subject.dependents(_MAIN)), patience=40)


@damages("check-postfix-a queue is taken from other machines only")
def handover(subject, expectation):
    how, also = master_cf(
        subject,
        10026,
        "smtpd_client_restrictions=permit",
        f"smtpd_relay_restrictions={_ALL}",
        "smtpd_tls_security_level=may",
    )
    yield Damage("it is taken from everybody", *how, also)


@damages("check-postfix-closed: nothing is delivered")
def closed(subject, expectation):
    copy = "mkdir -p /run/sabotage; cp /usr/bin/sleep /run/sabotage/qmgr"
    damage, undo = service("qmgr", "/run/sabotage/qmgr infinity")
    yield Damage("a queue manager runs", f"{copy}; {damage}", f"{undo}; rm -f /run/sabotage/qmgr")


# --- haproxy and keepalived


@damages("check-haproxy-every port has a member that is up")
def members(subject, expectation):
    member = subject.site.fleet.members(subject.site.fleet.pools[0])
    server = [f"health/{machine.name}" for machine in member]
    down = "; ".join(
        runtime(f"disable health {s}") + "; " + runtime(f"set server {s} health down") for s in server
    )
    up = "; ".join(
        runtime(f"enable health {s}") + "; " + runtime(f"set server {s} health up") for s in server
    )
    yield Damage("all of them are ill", down, up, patience=30)


def runtime(words):
    """Shell that says something to HAProxy's runtime socket."""
    perl = (
        'my $s = IO::Socket::UNIX->new(Peer => "/run/haproxy/admin.sock") or die;'
        ' print $s "$ARGV[0]\\n"; print while <$s>'
    )
    return f"perl -MIO::Socket::UNIX -e '{perl}' '{words}'"


@damages("check-haproxy-nobody is drained and forgotten")
def drained(subject, expectation):
    folder = "/var/lib/mailwright/drained"
    member = subject.site.fleet.members(subject.site.fleet.pools[0])[0].name
    note = "2026-01-01T00:00:00Z sabotage\n"
    yield Damage("one is noted since long ago", *extra(f"{folder}/{member}", note))
    drain, ready = (
        runtime(f"set server outgoing-465/{member} state {state}") for state in ("drain", "ready")
    )
    also = ("check-haproxy-every port has a member that is up",)
    yield Damage("one is drained, and nobody noted it", drain, ready, also, patience=30)


@damages("check-haproxy-the runtime socket is root's alone")
def socket(subject, expectation):
    path = "/run/haproxy/admin.sock"
    yield Damage("others may write to it", f"chmod 666 {path}", f"chmod 600 {path}")


@damages("check-haproxy-metrics are served")
def metrics(subject, expectation):
    how = haproxy(subject, "s|http-request use-service prometheus-exporter.*||")
    yield Damage("there is no exporter", *how, (*HAPROXY, "scrape-haproxy"))


@damages("check-keepalived-pool * has its state")
def state(subject, expectation):
    pool = re.search(r"pool (\S+) has", expectation.name)[1]
    file = f"/run/mailwright/vrrp/{pool}"
    swap = in_place("s/MASTER/STOP/; s/BACKUP/FAULT/", file)
    yield Damage("keepalived has stopped, and says so", *edit(subject, file, swap))


@damages("agreement-keepalived-exactly one of * holds *")
def split_brain(subject, expectation):
    address = expectation.name.rpartition(" ")[2]
    length, more = (128, " nodad") if ":" in address else (32, "")
    pool = next(p for p in subject.site.fleet.pools if address in map(str, p.addresses))
    mark = f"{KEPT}/{address}"
    place = "$(sed -n 's/^$INTERFACE=//p' /run/mailwright/vrrp/interface.conf)"
    # On the one that holds it this comes to nothing.
    add = f"ip address add {address}/{length} dev {place}{more} 2>/dev/null"
    delete = f"ip address del {address}/{length} dev {place}"
    yield Damage(
        "two hold it",
        f"mkdir -p {KEPT}; ! {add} || touch {mark}",
        f"if [ -e {mark} ]; then rm {mark}; {delete}; fi",
        (f"check-keepalived-pool {pool.name} has its state", "outside-*"),
        at=pool.balancers,
    )
