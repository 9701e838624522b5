"""Damages for what follows from needs: packages, accounts, files, settings, units."""

import shlex
from fnmatch import fnmatchcase

from mailwright.observe.script import proc_path
from tests.mutation.registry import damages
from tests.mutation.sabotage import QUIET, SYSTEMD, Damage, Equivalent
from tests.mutation.shells import away, edit, extra
from tests.mutation.subject import UNITS

_STATUS = "/var/lib/dpkg/status"


# --- files


@damages("file-*")
def file(subject, expectation):
    need = subject.needs[expectation.name]
    quoted = shlex.quote(need.path)
    also = (*subject.dependents(need.path), *_lean_on(need.path))
    # White space at the end: nothing that reads the file meanwhile reads something else.
    for what, command in (
        ("a line is added", f"echo >>{quoted}"),
        ("others may write", f"chmod o+w {quoted}"),
        ("it is somebody else's", f"chown nobody:nogroup {quoted}"),
    ):
        damage, undo = edit(subject, need.path, command)
        yield Damage(what, damage, undo, also, together=QUIET)


@damages("file-/etc/hosts")
def file_gone(subject, expectation):
    path = subject.needs[expectation.name].path
    damage, undo = edit(subject, path, f"rm {path}")
    yield Damage("it is gone", damage, undo, ("check-base-the machine knows its full name",))


@damages("directory-*")
def directory(subject, expectation):
    need = subject.needs[expectation.name]
    path = shlex.quote(need.path)
    back = f"chown {need.owner}:{need.group} {path}; chmod {need.mode:o} {path}"
    also = _lean_on(need.path)
    yield Damage("others may write", f"chmod o+w {path}", back, also, together=QUIET)
    if need.owner == "root":
        yield Damage("it is somebody else's", f"chown nobody {path}", back, also, together=QUIET)


@damages("absent-*")
def absent(subject, expectation):
    path = subject.needs[expectation.name].path
    damage, undo = extra(path, "")
    yield Damage("it is there", damage, undo + subject.fresh(path), subject.dependents(path), together=QUIET)


@damages("backup-*")
def backup_path(subject, expectation):
    path = subject.needs[expectation.name].path
    damage, undo = away(path, again=_fresh_below(subject, path))
    below = (f"file-{path}/*", f"directory-{path}", f"directory-{path}/*")
    yield Damage("it is not there", damage, undo, (*below, *_lean_on(path)))


def _fresh_below(subject, path):
    files = [f.path for f in subject.plan.merged.files if f.path.startswith(f"{path}/")]
    return "".join(subject.fresh(f) for f in files).removeprefix("; ")


_MAIL = (
    *("check-postfix-*", "check-dovecot-*", "check-opendkim-*", "check-certificates-*", "certificate-*"),
    "outside-*",
)
_LEAN_ON_FILES = {
    "/etc/postfix/main.cf": ("check-postfix-*",),
    "/etc/postfix/master.cf": ("check-postfix-*",),
    "/var/spool/postfix": _MAIL,
    "/etc/mailwright/certificates": (*_MAIL, "unit-*", "check-policies-*", "check-backup*"),
    # Neither takes a key that others could have read or written.
    "/etc/opendkim/keys*": ("check-opendkim-*",),
    "/etc/mailwright/backup/ssh": ("check-backup-the backup store answers, and takes this machine's key",),
    "/etc/mailwright/backup-store/host_key": ("check-backup_store-* over SSH",),
}
"""What else is seen of a damaged path, by globs."""


def _lean_on(path):
    return tuple(seen for glob, globs in _LEAN_ON_FILES.items() if fnmatchcase(path, glob) for seen in globs)


# --- packages


@damages("package-*")
def package(subject, expectation):
    name = subject.needs[expectation.name].name
    held = ("check-base-packages are held",)
    for what, state in (("removed", "deinstall ok config-files"), ("purged", "purge ok not-installed")):
        yield Damage(f"dpkg's record says {what}", *_recorded(name, state), held, together=QUIET)


def _recorded(name, state):
    """(damage, undo): a package's record says this instead of what it said."""
    kept = f"/run/sabotage/dpkg-{name}"
    line = f"/^Package: {name}$/,/^$/"
    take = f"mkdir -p /run/sabotage; sed -n '{line}{{s/^Status: //p}}' {_STATUS} >{kept}; [ -s {kept} ]"
    back = (
        f'if [ -s {kept} ]; then sed -i "{line}s/^Status: .*/Status: $(cat {kept})/" {_STATUS}; rm {kept}; fi'
    )
    return f"{take}; sed -i '{line}s/^Status: .*/Status: {state}/' {_STATUS}", back


@damages("packages-whole")
def half_way(subject, expectation):
    name = subject.plan.merged.packages[0].name
    damage, undo = _recorded(name, "install ok half-configured")
    yield Damage("a package is half configured", damage, undo, (f"package-{name}",))
    journal = "/var/lib/dpkg/updates/0001"
    yield Damage("dpkg was interrupted", *extra(journal, ""))


@damages("release")
def release(subject, expectation):
    path = "/usr/lib/os-release"
    damage, undo = edit(subject, path, f"sed -i 's/^VERSION_ID=.*/VERSION_ID=\"11\"/' {path}")
    yield Damage("the machine runs another release", damage, undo, together=QUIET)


# --- accounts


@damages("user-*")
def user(subject, expectation):
    need = subject.needs[expectation.name]
    yield Damage("its primary group is another", *_passwd(need.name, "gid", "65534"), together=QUIET)
    for group in (g.name for g in need.brings):
        rename = f"sed -i 's/^{group}:/{group}-away:/' /etc/group"
        back = f"sed -i 's/^{group}-away:/{group}:/' /etc/group"
        owned = tuple(
            f"{kind}-{n.path}"
            for kind, needs in (
                ("file", subject.plan.merged.files),
                ("directory", subject.plan.merged.directories),
            )
            for n in needs
            if n.group == group
        )
        tools = _LEAN_ON_POSTDROP if group == "postdrop" else ()
        yield Damage(f"the group {group} is gone", rename, back, (*owned, *tools))
    for group in need.groups:
        yield Damage(
            f"it is no member of {group}",
            f"gpasswd -d {need.name} {group} >/dev/null",
            f"gpasswd -a {need.name} {group} >/dev/null",
        )
    if not need.system:
        yield Damage("its shell is another", *_passwd(need.name, "shell", "/bin/sh"))
        yield Damage("its home is another", *_passwd(need.name, "home", "/tmp"))
    if need.managed_keys:
        keys = need.authorized_keys
        damage, undo = edit(subject, keys, f"echo 'ssh-ed25519 AAAA intruder' >>{keys}")
        yield Damage("somebody else may log in", damage, undo, together=QUIET)
    if need.found == "refuse" and need.uid is not None:
        yield Damage("it has another number", *_passwd(need.name, "uid", "59999"), ("file-*", "directory-*"))


_LEAN_ON_POSTDROP = (
    "check-postfix-the queue is served",
    "check-postfix-the mail log has no errors",
    "check-postfix-it is fit to take mail",
)
_FIELDS = {"uid": 3, "gid": 4, "home": 6, "shell": 7}


def _passwd(name, which, value):
    """(damage, undo): a field of an account's line in /etc/passwd (passwd(5))."""
    field, kept = _FIELDS[which], f"/run/sabotage/passwd-{name}-{which}"
    change = (
        f"awk -F: -v OFS=: -v name={name} -v value={{}} '$1 == name {{{{ ${field} = value }}}} 1'"
        " /etc/passwd >/etc/passwd.new; chmod 644 /etc/passwd.new; mv /etc/passwd.new /etc/passwd"
    )
    take = f"mkdir -p /run/sabotage; getent passwd {name} | cut -d: -f{field} >{kept}"
    undo = change.format(f'"$(cat {kept})"')
    return f"{take}; {change.format(value)}", f"if [ -s {kept} ]; then {undo}; rm {kept}; fi"


# --- kernel settings


@damages("sysctl-*")
def sysctl(subject, expectation):
    need = subject.needs[expectation.name]
    other = {"0": "1", "1": "0"}.get(need.value, "32768 60999")
    if subject.plan.machine.debian < 13:
        yield Equivalent(
            f"it is {other}", "in a container of this release nobody may set it, which is no fault"
        )
        return
    path = f"/proc/sys/{proc_path(need.key)}"
    write = f"echo {{}} >{path}"
    yield Damage(f"it is {other}", write.format(other), write.format(need.value), together=QUIET)


# --- units


@damages("unit-*")
def unit(subject, expectation):
    need = subject.needs[expectation.name]
    name = need.name
    if need.masked:
        text = "[Unit]\nDescription=unmasked\n"
        damage = f"rm {UNITS}/{name}; printf %s {shlex.quote(text)} >{UNITS}/{name}; systemctl daemon-reload"
        yield Damage("it is unmasked", damage, f"rm -f {UNITS}/{name}; systemctl -q mask {name}")
        return
    path = f"/run/systemd/system/{name}.d/sabotage.conf"
    damage, undo = extra(path, "[Unit]\nDescription=edited\n")
    yield Damage(
        "its unit file is edited", damage, f"{undo}; rmdir {path.rpartition('/')[0]} || :", together=QUIET
    )
    if need.running:
        yield from _stopped(subject, name)
    else:
        yield Damage("it runs", f"systemctl start {name}", f"systemctl stop {name}", _leaning(name))
    if need.enabled and name not in _NEVER_DISABLED:
        # What enabling means, `reenable` knows of the unit file; a template's instance is wanted by name.
        # One whose condition does not hold is forgotten when disabled: it is to be tried again.
        # systemd 257 takes a unit that lost and got back an alias for one that does not run, at times.
        start = f"systemctl start {name}"
        start = f"; {start} || {{ systemctl kill -s KILL {name}; {start}; }}" if need.running else ""
        damage, undo = f"systemctl -q disable {name}", f"systemctl -q enable {name}{start}"
        yield Damage("it is disabled", damage, undo, _WAITS.get(name, ()), together=SYSTEMD)
    if not need.enabled:
        yield Damage("it is enabled", f"systemctl -q enable {name}", f"systemctl -q disable {name}")


def _stopped(subject, name):
    if why := _NEVER_STOPS.get(name):
        yield Equivalent("it is stopped", why)
        return
    if name in _SKIPPED:
        yield Equivalent("it is stopped", _SKIPPED[name])
        return
    yield Damage(
        "it is stopped",
        f"systemctl stop {name}",
        f"systemctl reset-failed {name} 2>/dev/null || :; systemctl start {name} {_fenced(subject, name)}",
        (f"timer-{name}", *_leaning(name)),
        patience=30,
    )


def _fenced(subject, name):
    """What stops with the fence, and does not start by itself."""
    fenced = (unit.name for unit in subject.plan.merged.units if unit.fenced)
    return " ".join(fenced) if name == "mailwright-fence.service" else ""


def _leaning(name):
    return tuple(glob for start, globs in _LEAN_ON_UNITS.items() if name.startswith(start) for glob in globs)


_SKIPPED = {"chrony.service": "a container may not set the clock, so that systemd does not start it here"}
_NEVER_STOPS = {"systemd-journald.service": "its sockets start it with the next line that anybody logs"}
_NEVER_DISABLED = {"systemd-journald.service", "postfix@-.service"}
"""Static units: they have no [Install] section, and are wanted by what comes with the system."""
_WAITS = {"mailwright-fence.service": ("check-backup-* waits for the fence",)}
_LEAN_ON_UNITS = {
    # `sshd -T` wants the directory of the service, too.
    "ssh.service": ("port-22/*", "check-base-sshd takes keys only, and modern ones"),
    "unbound.service": ("port-53/*", "check-*"),
    "nginx.service": ("port-443/*", "check-policies-*", "outside-*"),
    "dovecot.service": ("check-dovecot-*", "check-postfix-*", "port-*", "outside-*"),
    "opendkim-sign": ("check-opendkim-*", "check-postfix-*", "outside-*"),
    "opendkim-verify.service": ("check-opendkim-*", "check-postfix-*", "outside-*"),
    "postfix.service": ("port-*", "check-postfix-*", "outside-*"),
    "postfix@-.service": ("port-*", "check-postfix-*", "outside-*"),
    "haproxy.service": (
        *("port-*", "scrape-*", "check-haproxy-*", "check-keepalived-*", "agreement-*", "outside-*"),
        "unit-keepalived.service",
    ),
    "keepalived.service": ("check-keepalived-*", "agreement-*", "outside-*"),
    "nftables.service": ("check-firewall-*", "outside-*"),
    "mailwright-fence.service": ("unit-postfix*", "port-*", "check-postfix-*", "outside-*"),
    "mailwright-backup-gate.service": ("port-8000/*", "check-backup_store-*", "outside-*"),
    "mailwright-backup-sshd.service": ("port-8000/*", "outside-*"),
    "mailwright-repository-": ("check-backup_store-*",),
}
"""What is seen of units that do not run, by how their names begin."""


# --- what is asked beside


@damages("timer-*")
def timer(subject, expectation):
    name = expectation.name.removeprefix("timer-")
    starts = f"$(systemctl show -P Unit {name})"
    path = f"/run/systemd/system/{name.removesuffix('.timer')}.service.d/sabotage.conf"
    text = "[Service]\nExecCondition=\nExecStart=\nExecStart=/bin/false\nSuccessExitStatus=\n"
    damage, undo = extra(path, text, "systemctl daemon-reload")
    yield Damage(
        "what it starts has failed",
        f"{damage}; systemctl start {starts} 2>/dev/null || :",
        f"{undo}; systemctl reset-failed {starts} 2>/dev/null || :",
        _LEAN_ON_FAILURES.get(name, ()),
    )


_LEAN_ON_FAILURES = {
    "mailwright-backup.timer": ("check-backup-the last backups went well and are fresh",),
    "mailwright-certificates.timer": ("check-certificates-the last round of renewals went well",),
}


@damages("sysctls-on-disk")
def sysctl_on_disk(subject, expectation):
    need = subject.plan.merged.sysctls[0]
    line = f"{need.key} = 9\n"
    yield Damage(
        "a later file says otherwise", *extra("/etc/sysctl.d/99-sabotage.conf", line), together=QUIET
    )
    own = "/etc/sysctl.d/60-mailwright.conf"
    damage, undo = edit(subject, own, f"sed -i '/^{need.key}/d' {own}")
    yield Damage("a line of ours is gone", damage, undo)


@damages("restarts")
def restart_loop(subject, expectation):
    text = (
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=10ms\n"
    )
    unit = "sabotage-loop.service"
    damage, undo = extra(f"/run/systemd/system/{unit}", text, "systemctl daemon-reload")
    yield Damage(
        "a service is restarted for ever",
        f"{damage}; systemctl start {unit}",
        f"systemctl stop {unit} 2>/dev/null || :; {undo}; systemctl reset-failed {unit} 2>/dev/null || :",
        patience=30,
    )
