"""The question: one POSIX-sh script that asks a machine for everything its needs speak of.

It forks a handful of programs whatever the number of files and roles (find, sha256sum, dpkg-query,
systemctl, date, id), needs nothing that Debian's minimal base lacks, and changes nothing. A program
that is missing leaves its part of the answer empty.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from mailwright.model.needs import Needs
from mailwright.model.needs.valid import UNIT
from mailwright.observe.places import LOCK, POLICY, POLICY_MARK, STAGE, SYSCTL_FILE, sibling, taken, tombstone
from mailwright.observe.state import key_of_test

UNITS = "/etc/systemd/system"
"""Where an administrator's unit files lie (systemd.unit(5))."""

HEADER = "mailwright-observation 1"
FOOTER = "mailwright-observation end"
BUSY = "mailwright-observation busy"

_PATIENCE = 300
"""Seconds to wait for a command that changes the machine: as long as an apt run may take."""
_TEST_LIMIT = 20
"""Seconds a role's shell test may take before it counts as failed."""
_PATHS_AT_ONCE = 400
"""Well below the kernel's limit for the arguments of one program."""

UNIT_PROPERTIES = (
    "Names",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "Type",
    "RemainAfterExit",
    "Result",
    "InactiveExitTimestamp",
    "InactiveExitTimestampMonotonic",
    "ConditionResult",
    "ConditionTimestampMonotonic",
)

# Everything stands in one compound command: a shell that gets half of the text, because the
# connection broke, finds a syntax error and runs none of it.
_HEAD = f"""{{
exec 2>/dev/null </dev/null
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ -r {LOCK} ]; then
  exec 9<{LOCK}
  flock -s -w {_PATIENCE} 9 || {{ echo '{BUSY}'; exit 0; }}
fi
echo '{HEADER}'
date '+clock %s.%N'
read -r up rest </proc/uptime; echo "uptime $up"
echo "uid $(id -u)"
while IFS= read -r line; do
  case $line in ID=*|VERSION_ID=*) printf 'release %s\\n' "$line" ;; esac
done </etc/os-release
[ -r /run/systemd/container ] && read -r line </run/systemd/container && printf 'container %s\\n' "$line"
grep -qsF '{POLICY_MARK}' {POLICY} && echo policy
"""

_TAIL = f"""echo '{FOOTER}'
exit 0
}}
"""


def script(needs: Needs, tests: Sequence[str] = ()) -> str:
    """Return the script that asks for the state of everything in `needs`, and runs the shell `tests`.

    The tests are visible on the host and must only read. Feed it to `sh` on standard input, as root.
    """
    parts = [
        _HEAD,
        *_paths(paths_of(needs)),
        _packages(p.name for p in needs.packages),
        _accounts([u.name for u in needs.users]),
        *_sysctls([s.key for s in needs.sysctls]),
        _units([*(u.name for u in needs.units), *described(needs)]),
        *(_test(t) for t in dict.fromkeys(tests)),
        _TAIL,
    ]
    return "\n".join(part for part in parts if part)


def described(needs: Needs) -> tuple[str, ...]:
    """Units that files of the needs describe and nobody declares: what a timer starts, for example.

    systemd has to read them again like any other. Templates are left out: systemd knows instances alone.
    """
    declared = {unit.name for unit in needs.units}
    said = [each.path for each in needs.files] + [each.path for each in needs.absent]
    below = (PurePosixPath(path).relative_to(UNITS) for path in said if path.startswith(f"{UNITS}/"))
    found = dict.fromkeys(path.parts[0].removesuffix(".d") for path in below)
    return tuple(n for n in found if UNIT.fullmatch(n) and "@." not in n and n not in declared)


def paths_of(needs: Needs) -> tuple[str, ...]:
    """All paths an observation looks at. `/` is there as the proof that looking works."""
    paths = ["/", STAGE, SYSCTL_FILE]
    for file in needs.files:
        paths += [file.path, sibling(file.path)]
    paths += [d.path for d in needs.directories]
    for absent in needs.absent:
        paths += [absent.path, tombstone(absent.path)]
    for user in needs.users:
        if user.managed_keys:
            paths += [user.ssh_directory, user.authorized_keys, sibling(user.authorized_keys)]
    paths += [read for unit in needs.units for read in unit.reads]
    paths += [taken(u.name) for u in needs.units if u.reload]
    return tuple(dict.fromkeys(paths))


def _words(items: Iterable[str]) -> str:
    return " ".join(shlex.quote(item) for item in items)


def _paths(paths: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(paths), _PATHS_AT_ONCE):
        words = _words(paths[start : start + _PATHS_AT_ONCE])
        yield (
            f"find {words} -maxdepth 0 -printf 'path %y %u %g %m %C@ %T@ %p\\n' "
            "-type f -exec sha256sum -- {} +"
        )


def _packages(names: Iterable[str]) -> str:
    # One pass over dpkg's database: the packages that are asked for, and all in a half-way state.
    wanted = "|".join(shlex.quote(name) for name in names) or "''"
    return f"""\
for file in /var/lib/dpkg/updates/[0-9]*; do [ -e "$file" ] && echo interrupted; done
dpkg-query -W -f='${{db:Status-Abbrev}}|${{Package}}|${{Version}}\\n' |
while IFS='|' read -r state name version; do
  case $name in
    {wanted}) ;;
    *) case $state in 'ii '|'hi '|'rc '|'un '|'pn ') continue ;; esac ;;
  esac
  printf 'package %s|%s|%s\\n' "$state" "$name" "$version"
done"""


def _accounts(names: Sequence[str]) -> str:
    # The files and not getent(1): roles declare local accounts.
    wanted = "|".join(f"'{name}:'*" for name in names)
    if not wanted:
        return ""
    return f"""\
while IFS= read -r line || [ -n "$line" ]; do
  case $line in {wanted}) printf 'passwd %s\\n' "$line" ;; esac
done </etc/passwd
while IFS= read -r line || [ -n "$line" ]; do printf 'group %s\\n' "$line"; done </etc/group"""


def _sysctls(keys: Sequence[str]) -> Iterator[str]:
    # The shell's own `read` takes a byte at a time, and /proc/sys answers only the first one.
    files = {key: "/proc/sys/" + proc_path(key) for key in keys}
    for key, path in files.items():
        quoted = shlex.quote(path)
        yield f"mode=r; [ -w {quoted} ] && mode=w; [ -e {quoted} ] && echo 'sysctl {key}' $mode"
    if files:
        yield f"grep -sH . {_words(files.values())}"


def proc_path(key: str) -> str:
    """The path of a sysctl key below /proc/sys (sysctl.d(5): the first separator decides)."""
    if "/" in key and ("." not in key or key.index("/") < key.index(".")):
        return key
    return key.translate(str.maketrans("./", "/."))


def _units(names: Sequence[str]) -> str:
    if not names:
        return ""
    properties = ",".join(UNIT_PROPERTIES)
    return f"echo units\nsystemctl show --timestamp=us+utc -p {properties} -- {_words(names)}\necho units-end"


def _test(test: str) -> str:
    return (
        f"if timeout -k 2 {_TEST_LIMIT} sh -c {shlex.quote(test)} >/dev/null 9<&-; "
        f"then echo 'test {key_of_test(test)} 0'; else echo 'test {key_of_test(test)} 1'; fi"
    )
