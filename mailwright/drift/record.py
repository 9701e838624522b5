"""The record that an apply leaves on a host: who made it, and what the machine was like at its end. Pure.

    before      written by the first command of a run that changes the host: a survey of what it finds
    survey, baseline, wanted, record.json
                written by the last operation of a run that ended well, which removes `before`

What had drifted before the run and was not touched by it stays drifted: such a line of the old baseline is
kept. So no run blesses what somebody did by hand. A run that changes nothing writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from mailwright.converge.shell import here, words
from mailwright.converge.sysctls import needs as sysctl_needs
from mailwright.converge.users import keys
from mailwright.drift.places import BASELINE, BEFORE, HOME, RECORD, SURVEY, WANTED
from mailwright.drift.survey import FOOTER, asking
from mailwright.model.needs import Needs, merge

VERSION = 1


@dataclass(frozen=True)
class Applied:
    """Who last applied what to a machine, and when."""

    by: str
    """`USER@CONTROLLER`, or what MAILWRIGHT_BY said."""
    when: str
    """UTC, ISO 8601, to the second."""
    commit: str
    """Of the repository that the fleet file lies in; empty if there is none."""
    dirty: bool
    """The repository had changes that were not committed."""
    fleet: str
    """The digest of the fleet file and its keyring: SHA-256, hexadecimal."""
    roles: tuple[str, ...] = ()
    """The only roles that the run was about; empty: all."""

    def as_json(self) -> str:
        """As it lies on the host."""
        return json.dumps({"version": VERSION} | asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, text: str) -> Applied | None:
        """Read what `as_json` wrote; nothing if it is something else."""
        try:
            data = json.loads(text)
            if data.get("version") != VERSION:
                return None
            return cls(
                by=str(data["by"]),
                when=str(data["when"]),
                commit=str(data["commit"]),
                dirty=bool(data["dirty"]),
                fleet=str(data["fleet"]),
                roles=tuple(map(str, data["roles"])),
            )
        except (ValueError, AttributeError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        """As an operator reads it."""
        commit = f", commit {self.commit[:7]}{' (dirty)' if self.dirty else ''}" if self.commit else ""
        roles = f", only {', '.join(self.roles)}" if self.roles else ""
        return f"{self.when.replace('T', ' ').removesuffix('Z')} UTC by {self.by}{commit}{roles}"


def on_host(needs: Needs) -> Needs:
    """The needs with the files that kernel settings and SSH keys amount to."""
    return merge((needs, keys(needs.users), sysctl_needs(needs.sysctls)))


def wanted(by_role: Mapping[str, Needs], roles: Collection[str] = ()) -> str:
    """What a machine is to be, a line for each of its roles or of `roles`: its name, and a digest (SHA-256).

    A run that is about some roles only writes their lines, and so owes nothing to the next whole run.
    """
    names = sorted(name for name in by_role if not roles or name in roles)
    return "".join(f"{name} {_digest(by_role[name])}\n" for name in names)


def _digest(needs: Needs) -> str:
    whole = on_host(needs)
    contents = [hashlib.sha256(file.content).hexdigest() for file in whole.files]
    said = (whole.packages, whole.users, whole.directories, whole.files, whole.absent, whole.sysctls)
    return hashlib.sha256(repr((said, whole.units, contents)).encode()).hexdigest()


def settled(said: str, *, partly: bool = False) -> str:
    """Shell test: no run's end has to be recorded. `said`: what is `wanted`; `partly`: of some roles only."""
    if partly:
        lines = "".join(f" && grep -qsxF {words(line)} {WANTED}" for line in said.splitlines())
        return f"[ ! -s {RECORD} ] || {{ [ ! -e {BEFORE} ]{lines}; }}"
    same = f"printf '%s\\n' {words(*said.splitlines())} | cmp -s - {WANTED}" if said else f"[ ! -s {WANTED} ]"
    return f"[ -s {RECORD} ] && [ ! -e {BEFORE} ] && {same}"


def beginning() -> str:
    """Return the shell text with which the first change of a run begins. It never fails.

    What a killed run has left is kept: it is older.
    """
    return f"""\
[ -e {BEFORE} ] || ( # for `mailwright drift`
  mkdir -p -- {_parent()} && umask 077 && mkdir -p {HOME} && chmod 0700 {HOME} && cd {HOME} &&
  {{ [ ! -s {BASELINE} ] || {asking(SURVEY)} 9>&- || :; }} >before.new && mv -fT before.new {BEFORE}
) || :
"""


# A line of the old baseline is kept where the machine had departed from it before the run and the run left
# that as it was; not of kinds of which one of the two surveys could not say all.
_MERGE = r"""awk -F'\t' -v OFS='\t' '
  $1 == "failed" && n < 3 { blind[$2]; next }
  { k = $1 FS $2; kind[k] = $1 } n == 1 { old[k] = $0; next } n == 2 { found[k] = $0; next } { now[k] = $0 }
  END { for (k in kind) {
    ours = kind[k] in blind || old[k] == found[k] || now[k] != found[k]
    line = ours ? now[k] : old[k]
    if (line != "") print line
  } }' n=1 baseline n=2 before n=3 now.new"""


def ending(survey: str, applied: Applied, said: str) -> str:
    """Return the shell text that records a run that ended well, of what was `wanted` of its roles."""
    # The last of them is what says that there is a record.
    files = {"survey": survey, "wanted": said, "record.json": applied.as_json()}
    theirs = "".join(f" -e '^{name} '" for name in applied.roles)
    others = (
        f"{{ grep -vs{theirs} wanted || :; cat wanted.new; }} | LC_ALL=C sort >both; mv -fT both wanted.new"
    )
    return "\n".join(
        [
            f"mkdir -p -- {_parent()}; umask 077; mkdir -p {HOME}; chmod 0700 {HOME}; cd {HOME}",
            *(here(f"base64 -d >{name}.new", text.encode()) for name, text in files.items()),
            *([others] if theirs else ()),
            _take("survey.new"),
            *(f"mv -fT -- {words(f'{name}.new', name)}" for name in files),
            f"rm -f {BEFORE} now.new",
        ]
    )


def again() -> str:
    """Return the shell text that ends a change by other means than a deploy, such as an upgrade.

    Who applied what, and the question, stay as they are. Nothing is done where there is no record.
    """
    return f"[ ! -s {RECORD} ] || ( umask 077; cd {HOME}\n{_take('survey')}\nrm -f {BEFORE} now.new )"


def accepting() -> str:
    """Return the shell text that takes the machine as it is for the baseline, drift included."""
    return f"""\
[ -s {RECORD} ] || fail 'nothing was applied to this machine yet: mailwright apply'
umask 077; cd {HOME}
{asking(SURVEY)} 9>&- >baseline.new || :
{_whole("baseline.new")}
mv -fT baseline.new {BASELINE}"""


def _take(question: str) -> str:
    """Survey, and make a new baseline of it, of the old one and of what the run found at its beginning."""
    return f"""\
{asking(f"./{question}")} 9>&- >now.new || :
{_whole("now.new")}
if [ -s baseline ] && grep -qsxF '{FOOTER}' before; then
{_MERGE} | sort >baseline.new
else
  mv -fT now.new baseline.new
fi
sync baseline.new; mv -fT baseline.new {BASELINE}"""


def _whole(file: str) -> str:
    return f"grep -qxF '{FOOTER}' {file} || fail 'this machine could not be surveyed (mailwright drift)'"


def _parent() -> str:
    return words(HOME.rpartition("/")[0])
