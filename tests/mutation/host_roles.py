"""Damages for the checks of base, firewall, unbound, certificates, backup and backup_store."""

import re
import shlex

from mailwright.model.names import DnsName
from roles.unbound import CONFIG
from tests.mutation.registry import damages
from tests.mutation.sabotage import Damage
from tests.mutation.served import _both, _unbound, leans_on, made, placed
from tests.mutation.shells import away, drop_in, edit, extra, in_place

# --- base


@damages("check-base-the machine knows its full name")
def name(subject, expectation):
    fqdn = subject.plan.machine.fqdn.bare
    how = edit(subject, "/etc/hosts", in_place(f"s/{fqdn}/another.example/", "/etc/hosts"))
    yield Damage("/etc/hosts says another", *how, ("file-/etc/hosts",))


_CLOCK = """#!/bin/sh
[ "$*" != +%s ] || set -- +%s -d '{}'
exec /usr/bin/date "$@"
"""


@damages("check-base-the clock is right")
def clock(subject, expectation):
    # A container has the clock of the machine around it, so that who reads it is damaged instead.
    for what, shift in (("it is five minutes fast", "+5 min"), ("it is two minutes slow", "-2 min")):
        damage, undo = extra("/usr/local/bin/date", _CLOCK.format(shift))
        yield Damage(what, f"{damage}; chmod 755 /usr/local/bin/date", undo)


@damages("check-base-sshd takes keys only, and modern ones")
def sshd(subject, expectation):
    for what, line in (
        ("it takes passwords", "PasswordAuthentication yes"),
        ("it has a weak cipher", "Ciphers aes128-cbc,aes256-ctr"),
        ("it has a weak key exchange", "KexAlgorithms diffie-hellman-group14-sha1,curve25519-sha256"),
        ("it has a weak MAC", "MACs hmac-sha1,hmac-sha2-256"),
        ("it takes empty passwords", "PermitEmptyPasswords yes"),
        ("root may log in by password", "PermitRootLogin yes"),
    ):
        yield Damage(what, *extra("/etc/ssh/sshd_config.d/00-sabotage.conf", f"{line}\n"))


@damages("check-base-unattended-upgrades takes security updates")
def upgrades(subject, expectation):
    text = "#clear Unattended-Upgrade::Origins-Pattern;\n"
    yield Damage("another file clears the origins", *extra("/etc/apt/apt.conf.d/99sabotage", text))


@damages("check-base-packages are held")
def held(subject, expectation):
    names = " ".join(subject.plan.contexts["base"].settings.hold)
    yield Damage(
        "one is let go", f"apt-mark -q unhold {names} >/dev/null", f"apt-mark -q hold {names} >/dev/null"
    )


@damages("check-base-no reboot has been owed for long")
def reboot(subject, expectation):
    mark = "/run/reboot-required"
    damage, undo = extra(mark, "*** System restart required ***\n")
    yield Damage("one is owed for three weeks", f"{damage}; touch -d '21 days ago' {mark}", undo)


@damages("check-base-packages come from Debian")
def origin(subject, expectation):
    package = subject.plan.merged.packages[0].name
    status = "/var/lib/dpkg/status"
    change = in_place(f"/^Package: {package}$/,/^$/s/^Version: .*/Version: 999:1/", status)
    yield Damage("one is of no archive", *edit(subject, status, change))


@damages("check-base-disks have room")
def room_on_disks(subject, expectation):
    mount = "mkdir -p /boot; mount -t tmpfs -o {} tmpfs /boot; "
    undo = "! mountpoint -q /boot || umount /boot"
    full = mount.format("size=4m") + "head -c 4000k /dev/zero >/boot/full"
    yield Damage("one is full", full, undo)
    many = mount.format("size=4m,nr_inodes=20") + "touch $(seq -f /boot/%g 18)"
    yield Damage("one has no inodes left", many, undo)


@damages("check-base-random numbers do not run out")
def entropy(subject, expectation):
    place, few = "/proc/sys/kernel/random/entropy_avail", "/run/sabotage/entropy"
    damage = f"mkdir -p /run/sabotage; echo 12 >{few}; mount --bind {few} {place}"
    yield Damage("there are few", damage, f"! mountpoint -q {place} || umount {place}")


# --- firewall


@damages("check-firewall-the loaded rules are the file's")
def rules(subject, expectation):
    load = "nft --file /etc/nftables.conf"
    for what, change in (
        ("a port is opened by hand", "nft insert rule inet mailwright input tcp dport 4190 accept"),
        ("everything comes in", "nft 'chain inet mailwright input { policy accept; }'"),
        ("the rules are flushed", "nft flush ruleset"),
    ):
        yield Damage(what, change, load, ("outside-*",))


# --- unbound


@damages("check-unbound-names are resolved by the local resolver")
def resolver(subject, expectation):
    also = ("check-postfix-resolves names as the machine does",)
    damage, undo = edit(subject, "/etc/resolv.conf", "echo 'nameserver 192.0.2.53' >>/etc/resolv.conf")
    # Postfix' copy in its chroot is made of what is newer (`cp -u`): a file with its old time is not.
    fresh = "touch /etc/resolv.conf; systemctl restart postfix-resolvconf.service 2>/dev/null || :"
    yield Damage("another one is asked", damage, f"{undo}; {fresh}", also)


@damages("check-unbound-answers of * are validated")
def validation(subject, expectation):
    zone = expectation.name.removeprefix("check-unbound-answers of ").removesuffix(" are validated")
    # An anchor of the very zone outweighs `domain-insecure`, so it takes the anchor's place.
    how = edit(
        subject,
        CONFIG,
        in_place(f'/^ *trust-anchor: "{re.escape(zone)} /c\\    domain-insecure: "{zone}"', CONFIG),
        "systemctl restart unbound",
    )
    also = (f"file-{CONFIG}", *subject.dependents(CONFIG), "check-unbound-a forged answer is refused")
    yield Damage("the zone is taken for unsigned", *how, also, patience=20)


@damages("check-unbound-a forged answer is refused")
def forged(subject, expectation):
    how = _unbound("server:\n    val-permissive-mode: yes\n")
    yield Damage("the resolver lets what is forged pass", *how, ("check-unbound-answers of *",), patience=20)


# --- certificates of an authority


@damages("check-certificates-certificates are the authority's, and renewed")
def authority(subject, expectation):
    for need in subject.plan.merged.certificates:
        names = tuple(DnsName(name).bare for name in need.names)
        pair = need.pairs[0]
        also = leans_on(subject, need, pair)
        yield Damage(f"{need.name} is self-signed", *placed(subject, _both(pair, *made(names, 90))), also)


@damages("check-certificates-the last round of renewals went well")
def renewals(subject, expectation):
    unit = "mailwright-certificates.service"
    damage, undo = drop_in(unit, "[Service]\nExecStart=\nExecStart=/bin/false\n")
    yield Damage(
        "it failed",
        f"{damage}; systemctl start {unit} 2>/dev/null || :",
        f"{undo}; systemctl reset-failed {unit} 2>/dev/null || :",
        ("timer-mailwright-certificates.timer",),
    )


# --- backups of the machine, and its fence


@damages("check-backup-the machine has not been replaced")
def replaced(subject, expectation):
    path = "/var/lib/mailwright/fence/replaced"
    yield Damage("it has", *extra(path, "since 2026-01-01: another one has its place\n"))


@damages("check-backup-* waits for the fence")
def fence(subject, expectation):
    unit = expectation.name.removeprefix("check-backup-").removesuffix(" waits for the fence")
    link = f"/etc/systemd/system/{unit}.requires/mailwright-fence.service"
    yield Damage(
        "it does not",
        f"rm {link}; systemctl daemon-reload",
        f"ln -sfn /etc/systemd/system/mailwright-fence.service {link}; systemctl daemon-reload",
    )


@damages("check-backup-the last backups went well and are fresh")
def backups(subject, expectation):
    since, runs = (f"/var/lib/mailwright/backup/{name}" for name in ("since", "runs.json"))
    damage, undo = edit(subject, since, f"touch -d '3 days ago' {since}")
    forget = f"[ ! -e {runs} ] || mv {runs} {runs}.sabotage"  # the timer's turn may have come meanwhile
    remember = f"[ ! -e {runs}.sabotage ] || mv {runs}.sabotage {runs}"
    yield Damage("there was none for days", f"{damage}; {forget}", f"{undo}; {remember}")
    program = "/usr/local/sbin/mailwright-backup"
    yield Damage("they are on hold", f"{program} hold sabotage", f"{program} release")


@damages("check-backup-the backup store answers, and takes this machine's key")
def store(subject, expectation):
    if f"file-{_SECRET}/ssh" in subject.needs:
        file = f"{_SECRET}/ssh"
        how = edit(subject, file, f"rm {file}; ssh-keygen -q -t ed25519 -N '' -f {file}; rm {file}.pub")
        yield Damage("the key is another", *how, (f"file-{file}",))
    else:
        file = f"{_SECRET}/repository"
        how = edit(subject, file, in_place("s/:[^:@]*@/:wrong@/", file))
        yield Damage("the password is another", *how, (f"file-{file}",))


_SECRET = "/etc/mailwright/backup"


# --- the keeper of backups

_KEEPER = "/var/lib/mailwright/backup-keeper"


@damages("check-backup_store-every machine's newest backup is fresh")
def fresh(subject, expectation):
    yield _remembered(
        subject, "a machine was never backed up", "m['since'] = 1.0", ("*pruned and can be read",)
    )


@damages("check-backup_store-backups were pruned and can be read")
def read(subject, expectation):
    yield _remembered(subject, "a check found damage", "m['check']['error'] = 'damaged'")
    yield _remembered(subject, "a prune failed", "m['prune']['error'] = 'no room'")


def _remembered(subject, what, change, also=()):
    """Other words in what the keeper remembers of a machine."""
    machine = next(m.name for m in subject.site.fleet.machines if "backup" in m.roles)
    file = f"{_KEEPER}/{machine}.memory.json"
    program = f"import json; f = '{file}'; m = json.load(open(f)); {change}; json.dump(m, open(f, 'w'))"
    how = edit(subject, file, f"python3 -c {shlex.quote(program)}")
    return Damage(what, *how, tuple(f"check-backup_store-{glob}" for glob in also))


@damages("check-backup_store-backups have room")
def reserve(subject, expectation):
    yield Damage("the reserve is used up", *away("/srv/backups/.reserve"))


@damages("check-backup_store-* can delete no backup")
def deletes(subject, expectation):
    machine = expectation.name.removeprefix("check-backup_store-").removesuffix(" can delete no backup")
    unit = f"mailwright-repository-{machine}"
    start = f"$(sed -n 's/^ExecStart=//p' /etc/systemd/system/{unit}.service | sed 's/ --append-only//')"
    folder = f"/run/systemd/system/{unit}.service.d"
    text = f'printf "[Service]\\nExecStart=\\nExecStart=%s\\n" "{start}"'
    take = f"systemctl daemon-reload; systemctl stop {unit}.service; systemctl restart {unit}.socket"
    damage = f"mkdir -p {folder}; {text} >{folder}/sabotage.conf; {take}"
    yield Damage("its server lets it", damage, f"rm -rf {folder}; {take}", (f"unit-{unit}.socket",))
    gate = "/etc/mailwright/backup-store/gate.conf"
    how = edit(
        subject,
        gate,
        in_place("s/limit_except GET POST {/limit_except GET POST DELETE {/", gate),
        "systemctl reload mailwright-backup-gate",
    )
    also = (
        f"file-{gate}",
        "unit-mailwright-backup-gate.service",
        "check-backup_store-* can delete no backup",
    )
    yield Damage("the gate lets it", *how, also)


@damages("check-backup_store-* gets nothing but its repository over SSH")
def shell(subject, expectation):
    file = "/etc/mailwright/backup-store/sshd_config"
    for what, expression in (
        ("it gets a shell", "/^ForceCommand/d"),
        ("it may forward", "s/^DisableForwarding yes/DisableForwarding no/"),
    ):
        how = edit(subject, file, in_place(expression, file))
        also = (f"file-{file}", *subject.dependents(file), "check-backup_store-* over SSH")
        yield Damage(what, *how, also)
