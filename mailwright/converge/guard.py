"""Changes that could cut the operator off: the host takes them back unless they are confirmed. Pure.

Before anything changes, the host keeps the old files beside a script that puts them back, and a timer
of its own systemd runs that script. Only a connection made after the change may stop the timer. So a
bad ruleset, a killed controller and a lost network all end the same way: as before, files on disk
included. Whoever renames the script first wins, so a confirmation and the timer never both count.
"""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import dirname

from mailwright.converge.shell import here, words

HOME = "/var/lib/mailwright/guard"

SECONDS = 30
"""How long the host waits for the confirmation: two tries to connect and some patience."""


@dataclass(frozen=True)
class Guard:
    """What a guarded change needs besides its files. Shell text runs as root, in the guard's folder."""

    name: str
    """Of the role; a host has one guard of a name at a time."""
    paths: tuple[str, ...]
    """The files that the change writes."""
    activate: str
    """Let what is on disk take effect."""
    revert: str
    """Let the old state take effect, once the old files are back."""
    save: str = ":"
    """Keep whatever else `revert` needs, in the current folder."""

    @property
    def home(self) -> str:
        """Exists from before the change until it is confirmed or taken back."""
        return f"{HOME}/{self.name}"

    @property
    def unit(self) -> str:
        """The transient timer and service."""
        return f"mailwright-guard-{self.name}"


def settled(guard: Guard) -> str:
    """Shell test: no change of this name waits to be confirmed or taken back."""
    return f"[ ! -e {guard.home} ]"


def change(guard: Guard, install: str, seconds: int = SECONDS) -> str:
    """Return the shell text that arms the timer, then runs `install` and activates.

    If any of it fails, the host goes back at once and the text ends with the failure. A change that an
    earlier, killed run left pending is taken back first: what it made is nothing to come back to.
    The guard's folder appears with all it needs in it, so being killed here leaves nothing half-armed.
    """
    restore = f"{guard.home}/restore"
    timer = words(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={guard.unit}",
        f"--on-active={seconds}s",
        # Else systemd may be a minute late, to save wake-ups (systemd.timer(5)).
        "--timer-property=AccuracySec=100ms",
        "/bin/sh",
        restore,
    )
    return "\n".join(
        [
            _finish(guard),
            f"rm -rf {guard.home}.new; mkdir -p {guard.home}.new; cd {guard.home}.new",
            *(_keep(path) for path in guard.paths),
            f"( {guard.save}\n)",
            here("base64 -d >restore", _restore(guard).encode()),
            f"mv -T {guard.home}.new {guard.home}",
            timer,
            f"trap 'sh {restore}' EXIT",
            f"( {install}\n)",
            f"( {guard.activate}\n)",
            "trap - EXIT",
        ]
    )


def _finish(guard: Guard) -> str:
    """End whatever an earlier run left: stop its timer, and go back unless it was confirmed."""
    home = guard.home
    return f"""\
systemctl stop {guard.unit}.timer {guard.unit}.service 2>/dev/null || :
[ ! -e {home}/restoring ] || mv {home}/restoring {home}/restore
if [ -e {home}/restore ]; then sh {home}/restore; else rm -rf {home}; fi
[ ! -e {home} ] || fail 'an earlier change that was not confirmed could not be taken back'"""


def _keep(path: str) -> str:
    # Not `cp --parents`: Debian 12's cannot keep the modes of absolute paths.
    return f"mkdir -p old{dirname(path)}; [ ! -e {path} ] || cp -a {path} old{path}"


def _restore(guard: Guard) -> str:
    """No `set -e`: each step back is worth doing even if another fails."""
    back = "\n".join(
        f"if [ -e old{path} ]; then cp -a old{path} {path}.old && mv -f {path}.old {path}\n"
        f"else rm -f {path}; fi"
        for path in guard.paths
    )
    return f"""\
# Takes back a change that nobody confirmed. Written by mailwright.
cd {guard.home} && mv restore restoring 2>/dev/null || exit 0
{back}
( {guard.revert}
)
logger -t mailwright 'the change of {guard.name} was not confirmed and is taken back'
cd / && rm -rf {guard.home}
systemctl stop {guard.unit}.timer 2>/dev/null
exit 0
"""


TOO_LATE = "the change was already taken back"


def confirm(guard: Guard) -> str:
    """Return the shell text that keeps the change. Run it over a connection made after the change."""
    return "\n".join(
        [
            f"mv {guard.home}/restore {guard.home}/confirmed 2>/dev/null || fail '{TOO_LATE}'",
            f"systemctl stop {guard.unit}.timer",
            f"rm -rf {guard.home}",
        ]
    )


def wait(guard: Guard) -> str:
    """Return the shell text that ends when the change has been taken back."""
    return f"while [ -e {guard.home} ]; do sleep 0.2; done"
