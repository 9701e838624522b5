"""From one release of Debian to the next, in place: what is looked at before, and what is done. Pure.

After chapter 4 of Debian's release notes (https://www.debian.org/releases/trixie/release-notes/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mailwright.converge.shell import words
from mailwright.model.needs import Needs
from mailwright.model.role import Result
from mailwright.upgrading import pending, work
from mailwright.upgrading.pending import Pending

_SSH = "ssh.service"
CODENAMES = {12: "bookworm", 13: "trixie"}
MARK = "/var/lib/mailwright/changing-release"
"""There from before the first source is changed until the machine has booted anew: what a killed run left."""
_KEPT = "/var/lib/mailwright/sources"
"""Where the sources of before are kept, for whoever wants to look."""
_SOURCES = "/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources"

# The next release's lists in a folder of their own, so that looking changes nothing.
_AHEAD = "/var/tmp/mailwright-ahead"  # noqa: S108 - made by root, which alone may write to it
_OPTIONS = (
    f"-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts={_AHEAD}/parts"
    f" -o Dir::State::Lists={_AHEAD}/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
)
_FETCH = f"""
set -e
rm -rf {_AHEAD}
mkdir -m 0755 {_AHEAD}
mkdir -p {_AHEAD}/lists/partial {_AHEAD}/parts
for file in {_SOURCES}; do
  [ ! -f "$file" ] || sed 's/\\b{{old}}\\b/{{new}}/g' "$file" >{_AHEAD}/parts/"${{{{file##*/}}}}"
done
apt-get -q {_OPTIONS} --error-on=any update 2>&1
"""
# By apt-get(8), `indextargets`: where packages may come from, as the archives say of themselves.
_ORIGINS = "apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(SITE)' 'Created-By: Packages' | sort -u"


def questions(release: int) -> dict[str, str]:
    """What a machine is asked before it changes to a release, as `pending.questions`."""
    names = {"old": CODENAMES[release - 1], "new": CODENAMES[release]}
    return {
        "state": f". /etc/os-release; echo $VERSION_ID; [ ! -e {MARK} ] || echo changing",
        "origins": _ORIGINS,
        "fetch": _FETCH.format(**names),
        **pending.questions(_OPTIONS, "dist-upgrade"),
        "tidy": f"rm -rf {_AHEAD}",
    }


def read_ahead(name: str, release: int, answers: Mapping[str, Result], needs: Needs) -> Pending:
    """What the answers say: the packages that would change, or why the machine cannot change.

    A machine that has changed already has nothing pending.
    """
    if "state" not in answers:
        return Pending(name, problem="it was not asked to the end (state)")
    running, *changing = answers["state"].stdout.split()
    if running == str(release) and not changing:
        return Pending(name)
    if running not in (str(release), str(release - 1)):
        return Pending(name, problem=f"it runs Debian {running}; the way to {release} is from {release - 1}")
    found = pending.read(name, answers)
    found = replace(found, interrupted=found.interrupted or bool(changing), kept_back=())
    return replace(found, problem=_obstacle(found, release, answers, needs, begun=bool(changing)))


def _obstacle(
    found: Pending, release: int, answers: Mapping[str, Result], needs: Needs, *, begun: bool
) -> str:
    if answers["fetch"].status:
        lines = answers["fetch"].stdout.strip().splitlines()
        return f"the lists of Debian {release} cannot be fetched: {(lines or ['no reason given'])[-1]}"
    if found.problem:
        return found.problem
    if found.held:
        return f"held: {', '.join(u.name for u in found.held)}: take that out of `hold` and deploy first"
    suites = (f"{CODENAMES[release]}", f"{CODENAMES[release - 1]}")
    strange = [
        line
        for line in answers["origins"].stdout.splitlines()
        if not line.startswith("Debian ") or not line.split()[1].startswith(suites)
    ]
    if strange and not begun:
        return f"not Debian's own: {strange[0]}; take that source away first"
    if lost := sorted({package.name for package in needs.packages} & set(found.removed)):
        return f"Debian {release} would take {', '.join(lost)} away, which the machine needs"
    return ""


def changing(release: int, needs: Needs) -> str:
    """Return the shell text of the change. It can be run again wherever it ended.

    Daemons whose configuration is ours are not restarted: it is that of the release before, which a newer
    one may refuse (Dovecot 2.4 does, and its package then fails). The deploy that follows brings them the
    right one. sshd is: one of before takes no new connections for long (https://bugs.debian.org/1110030).
    """
    quiet = [unit.name for unit in needs.units if unit.reads and unit.name != _SSH]
    old, new = CODENAMES[release - 1], CODENAMES[release]
    needed = words(*sorted({package.name for package in needs.packages}))
    return work.around(
        f"""\
if [ ! -e {MARK} ]; then
  # Debian supports the way from the last state of a release only. Its sshd still lets us in on the way.
  run_apt update || show
  run_apt {pending.UPGRADE} || show
  mkdir -p {_KEPT}
  for file in {_SOURCES}; do [ ! -f "$file" ] || cp -a "$file" {_KEPT}/; done
  echo {release} >{MARK}
fi
for file in {_SOURCES}; do [ ! -f "$file" ] || sed -i 's/\\b{old}\\b/{new}/g' "$file"; done
run_apt --error-on=any update || show
for package in $(apt-get -s -q -y dist-upgrade | sed -n 's/^Remv \\([^ ]*\\) .*/\\1/p'); do
  case " {needed} " in *" $package "*) fail "$package would be removed, which the machine needs" ;; esac
done
# In two steps, as the release notes have it: first what needs nothing new, so that less is torn apart.
run_apt upgrade || show
run_apt dist-upgrade || show""",
        heal=True,
        quiet=quiet,
    )
