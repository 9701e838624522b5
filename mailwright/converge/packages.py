"""Debian packages: one apt run for a machine, safe against being cut short. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailwright.converge.shell import here, words
from mailwright.model.needs import Package
from mailwright.observe.places import POLICY, POLICY_MARK
from mailwright.observe.state import Observation


@dataclass(frozen=True)
class Plan:
    """What is missing, and whether dpkg must be healed first."""

    missing: tuple[str, ...]
    heal: bool
    reinstall: tuple[str, ...]
    """Packages that dpkg wants to have unpacked again (its error flag `R`)."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.heal)

    @property
    def lines(self) -> tuple[str, ...]:
        """What will change, one line each."""
        heal = ("dpkg was interrupted: it is put right first",) if self.heal else ()
        return (*heal, *(f"{name}: installed" for name in self.missing))


def decide(packages: Iterable[Package], seen: Observation) -> Plan:
    """Compare the packages with what was seen."""
    names = (p.name for p in packages)
    return Plan(
        missing=tuple(n for n in names if n not in seen.packages or not seen.packages[n].installed),
        heal=seen.interrupted or bool(seen.broken),
        reinstall=tuple(n for n in seen.broken if seen.packages[n].status.endswith("R")),
    )


def apply(plan: Plan) -> str:
    """Return the shell text of the run. Its output is shown only if it fails."""
    lines = [beginning(), *(healing(plan.reinstall) if plan.heal else ())]
    if plan.missing:
        install = f"run_apt install {words(*plan.missing)}"
        # Mirrors replace packages: with lists of yesterday a download may fail, hence the second try.
        lines += ["run_apt update || :", f"{install} || {{ run_apt update || :; {install} || show; }}"]
    return "\n".join(lines)


def beginning(may_start: str = 'systemctl is-active -q -- "$1"') -> str:
    """Return the shell text that every apt run begins with.

    It defines `run` (a command whose output is kept), `run_apt` (apt-get that asks nothing and keeps our
    configuration files) and `show` (the end of that output, and failure), and has packages start only those
    daemons for which the shell test `may_start` succeeds with the unit's name as `$1`.
    """
    # Without this Debian starts each daemon as soon as it is unpacked, with a configuration nobody chose:
    # an open resolver, a mail server on the public address. What runs already may be restarted, so that an
    # upgraded library is taken up.
    # https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
    policy = f"#!/bin/sh\n{POLICY_MARK}\n{may_start} && exit 0\nexit 101\n"
    return here(f"base64 -d >{POLICY}.mailwright", policy.encode()) + _FUNCTIONS


def healing(reinstall: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the shell text that brings an interrupted dpkg to its end (dpkg(1)).

    `reinstall`: packages that dpkg wants to have unpacked again.
    """
    again = words(*reinstall)
    return (
        "run dpkg --configure -a || :",
        *((f"run_apt install --reinstall {again} || :",) if again else ()),
        "run_apt -f install || show",
    )


# Output goes to a file and not to the operator: apt must not die of a broken pipe when he goes away.
_FUNCTIONS = f"""\
export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical
export APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=a
log=$(mktemp)
finish() {{
  rm -f "$log" {POLICY}.mailwright
  if grep -qsF '{POLICY_MARK}' {POLICY}; then rm -f {POLICY}; fi
}}
trap finish EXIT
if [ ! -e {POLICY} ] || grep -qsF '{POLICY_MARK}' {POLICY}; then
  chmod 0755 {POLICY}.mailwright
  mv -f {POLICY}.mailwright {POLICY}
fi
run() {{ "$@" >>"$log" 2>&1 </dev/null 9>&-; }}
run_apt() {{
  run apt-get -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 \\
    -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=false "$@"
}}
show() {{ tail -n 40 "$log" >&2; exit 1; }}"""
