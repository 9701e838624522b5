"""What is run on a machine to upgrade it: shell text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mailwright.converge.packages import beginning, healing
from mailwright.converge.shell import words
from mailwright.observe.places import RUN
from mailwright.upgrading.pending import UPGRADE, Pending

REFRESH = "apt-get -q --error-on=any -o DPkg::Lock::Timeout=60 update 2>&1"
BOOT = "cat /proc/sys/kernel/random/boot_id; systemctl is-system-running"

# apt's, dpkg's and unattended-upgrades' locks are record locks (fcntl(2), F_GETLK says who holds one), and
# apt's on its lists knows no waiting. unattended-upgrades gives apt's back between two packages.
_PROBE = """\
import fcntl, struct
for path in ("/run/unattended-upgrades.lock", "/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock",
             "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"):
    try:
        with open(path, "r+b") as file:
            lock = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            kind, *_, pid = struct.unpack("hhqqi4x", lock)
        if kind != fcntl.F_UNLCK:
            print(open(f"/proc/{pid}/comm").read().strip(), f"(process {pid})")
            break
    except OSError:
        continue
"""
HOLDER = words("python3", "-ISc", _PROBE)
"""Prints who works on the packages; nothing when nobody does."""

_ACTIVE = f"{RUN}/upgrading"
"""The units that ran when the upgrade began. On a tmpfs: after a reboot all that are enabled run."""

# Many packages stop their daemon first and start it at the end: it does not run when Debian asks whether it
# may start. A run that was killed has left its list, which says what ran before that one.
_BEGIN = f"""\
[ -s {_ACTIVE} ] || {{
  systemctl list-units --state=active,activating,reloading --plain --no-legend | cut -d' ' -f1 >{_ACTIVE}.new
  mv {_ACTIVE}.new {_ACTIVE}
}}
"""
_MAY_START = f"""{{ systemctl is-active -q -- "$1" || grep -qxF -e "$1" -e "$1.service" {_ACTIVE}; }}"""

# apt calls needrestart at the end of each run (/etc/apt/apt.conf.d/99needrestart); this is for what runs that
# others made have left.
_END = f"""\
run needrestart -q -r a || show
rm -f {_ACTIVE}
"""


def upgrading(pending: Pending, removable: Sequence[str] = (), *, security: bool = False) -> str:
    """Return the shell text that installs what is pending, all of it or what mends security problems."""
    steps: tuple[str, ...] = ()
    if security and pending.updates:
        steps = (_install(pending),)
    elif set(pending.removed) & set(removable) and not pending.kept_back:
        steps = (_removing(pending.removed),)
    elif pending.updates:
        steps = (f"run_apt {UPGRADE} || show",)
    return around(*steps, heal=pending.interrupted)


def around(*steps: str, heal: bool, quiet: Sequence[str] = ()) -> str:
    """Return the shell text of an apt run of these steps, after which what ran before runs again.

    `quiet`: units that packages must neither start nor restart.
    """
    may_start = _MAY_START
    if quiet:
        # Debian's tools ask by the name of the unit or of the service.
        names = "|".join(words(name, name.removesuffix(".service")).replace(" ", "|") for name in quiet)
        may_start = f"case $1 in {names}) exit 101 ;; esac; {_MAY_START}"
    return "\n".join([_BEGIN + beginning(may_start), *(healing() if heal else ()), *steps, _END])


def _install(pending: Pending) -> str:
    """Install these versions and what they depend on, without a word on who asked for the packages.

    What apt-get(8) is told to install counts as wanted by somebody from then on (apt-mark(8)).
    """
    names = words(*(update.name for update in pending.updates))
    chosen = words(*(update.pinned for update in pending.updates))
    return (
        f"auto=$(apt-mark showauto {names})\n"
        f"run_apt --only-upgrade --no-remove install {chosen} || show\n"
        '[ -z "$auto" ] || run apt-mark auto $auto || show'
    )


def _removing(named: Sequence[str]) -> str:
    """The world may have changed since the operator named what may go."""
    return f"""\
for package in $(apt-get -s -q -y dist-upgrade | sed -n 's/^Remv \\([^ ]*\\) .*/\\1/p'); do
  case " {words(*named)} " in
    *" $package "*) ;;
    *) fail "$package would be removed, which nobody named" ;;
  esac
done
run_apt dist-upgrade || show"""
