"""What a machine says of its packages: pending updates, what keeps them back, what a reboot is owed for.

Pure: the questions, and their answers read. apt itself says what it would do, by the very
command line that will do it (apt-get(8), `--simulate`), so that nothing here repeats its reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mailwright.model.role import Result
from mailwright.observe.places import RUN
from mailwright.upgrading.reboots import MARKER, Owed, owed

_SPARE = 64 << 20
"""Octets that an upgrade leaves free beyond what apt reckons with: logs, lists and indices grow, too."""
_KERNEL = 200 << 20
"""Octets that a kernel with its initramfs takes below /boot."""
_PLACES = 2
"""File systems that every machine can say the free space of; /boot may not be there."""
_SECURITY = "Debian-Security:"
"""The label of Debian's security archive, as it stands in apt's answers."""

# By apt-get(8): `upgrade` never removes a package; with `--with-new-pkgs` it installs what an update newly
# depends on. Without that a machine never gets another kernel, whose package has its version in its name.
UPGRADE = "--with-new-pkgs upgrade"
_APT = "apt-get -q -y --no-install-recommends"
_WISH = f"{RUN}/upgrade-wish"
"""What apt has just said it would do. Where that is nothing it is not asked for more: a question takes it
a second."""
_UPGRADE = "mkdir -p -m 0711 {run}; {apt} -s {wish} >{file}; status=$?; cat {file}; exit $status"
_SIZES = r"""
found=$(sed -n 's/^Inst \([^ ]*\) .*(\([^ ]*\) .*/\1=\2/p' {file})
[ -n "$found" ] || exit 0
dpkg-query -W -f='old ${{Installed-Size}}\n' $(echo "$found" | sed 's/=.*//') 2>/dev/null
apt-cache {options} show $found | sed -n 's/^Installed-Size: /new /p'
{apt} --print-uris {wish} | sed -n "s/^'[^ ]* [^ ]* \([0-9]*\).*/get \1/p"
"""
_DPKG = (
    "find /var/lib/dpkg/updates -type f -name '[0-9]*'; "
    r"dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | grep -E '^(..R|.[UFHWt])'; :"
)


def questions(options: str = "", wish: str = UPGRADE) -> dict[str, str]:
    """What a machine is asked: shell commands, by the names under which `read` takes the answers.

    `options` are apt's, `wish` is what apt-get would be told.
    """
    apt = f"{_APT} {options}".rstrip()
    return {
        "release": ". /etc/os-release; echo $ID $VERSION_ID; [ -d /etc/mailwright ]",
        "upgrade": _UPGRADE.format(run=RUN, apt=apt, wish=wish, file=_WISH),
        # A machine without a security archive among its sources makes apt fail: there is nothing from there.
        "security": f"grep -q ^Inst {_WISH} || exit 0; . /etc/os-release; "
        f'{apt} -s -t "$VERSION_CODENAME-security" {UPGRADE}',
        "everything": f"{apt} -s --ignore-hold dist-upgrade",
        "held": "apt-mark showhold",
        "sizes": _SIZES.format(apt=apt, options=options, wish=wish, file=_WISH),
        "free": "df -B1 --output=avail,target /var/cache/apt/archives /usr /boot",
        "reboot": MARKER,
        "stale": "needrestart -b",
        "dpkg": _DPKG,
    }


_INST = re.compile(r"^Inst (\S+) (?:\[(\S+)\] )?\((\S+) (.*?) ?\[\S+\]\)", re.MULTILINE)
"""`Inst NAME [OLD] (NEW ORIGIN, ORIGIN [ARCHITECTURE])`; a new package has no old version."""
_REMV = re.compile(r"^Remv (\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Update:
    """A package with the version that it would get."""

    name: str
    new: str
    old: str = ""
    """Empty for a package that an update newly depends on."""
    security: bool = False
    """Whether it mends a security problem: it, or a version that it supersedes, is in that archive."""

    @property
    def pinned(self) -> str:
        """The package and the version, as apt-get(8) takes them."""
        return f"{self.name}={self.new}"


@dataclass(frozen=True)
class Pending:
    """What is due on a machine."""

    name: str
    updates: tuple[Update, ...] = ()
    held: tuple[Update, ...] = ()
    """Updates of packages that somebody holds (apt-mark(8))."""
    kept_back: tuple[str, ...] = ()
    """Packages whose new versions would need the removal of others."""
    removed: tuple[str, ...] = ()
    """What would be removed to get those; where none is kept back, what is removed."""
    download: int = 0
    """Octets to fetch."""
    interrupted: bool = False
    """dpkg was cut short, and is put right first."""
    owed: Owed = field(default_factory=Owed)
    problem: str = ""
    """Why it cannot be upgraded; empty when it can."""

    @property
    def security(self) -> tuple[Update, ...]:
        """The updates that mend a security problem."""
        return tuple(update for update in self.updates if update.security)

    def only(self, *, security: bool) -> Pending:
        """The same, limited to security updates where that is wished."""
        if not security:
            return self
        return replace(self, updates=self.security, kept_back=(), removed=())

    def with_removals(self, named: Sequence[str], everything: str) -> Pending:
        """The same with what is kept back, if all that has to go for it is among the `named` packages.

        `everything`: apt's answer about a full upgrade.
        """
        if not self.removed or not set(self.removed) <= set(named):
            return self
        mended = {update.name for update in self.security}
        updates = (replace(u, security=u.security or u.name in mended) for u in _updates(everything))
        held = {update.name for update in self.held}
        return replace(self, updates=tuple(u for u in updates if u.name not in held), kept_back=())


def read(name: str, answers: Mapping[str, Result], removable: Sequence[str] = ()) -> Pending:
    """What a machine's answers to `questions` say.

    `removable`: packages that may be removed, by the operator's word.
    """
    said = {key: result.stdout for key, result in answers.items()}
    missing = [key for key in questions() if key not in answers]
    if missing:
        return Pending(name, problem=f"it was not asked to the end ({missing[0]})")
    if answers["release"].status:
        return Pending(name, problem="it has not been deployed: mailwright apply comes first")
    interrupted = bool(said["dpkg"].strip())
    if answers["upgrade"].status and not interrupted:
        return Pending(name, problem=_complaint(answers["upgrade"]))
    updates = _marked(_updates(said["upgrade"]), _updates(said["security"]))
    held = frozenset(said["held"].split())
    rest = [u for u in _updates(said["everything"]) if u.name not in {each.name for each in updates}]
    kept_back = tuple(update.name for update in rest if update.name not in held and update.old)
    found = Pending(
        name,
        updates,
        held=tuple(update for update in rest if update.name in held),
        kept_back=kept_back,
        # What letting go of the held ones would remove is nobody's wish.
        removed=tuple(_REMV.findall(said["everything" if kept_back else "upgrade"])),
        download=sum(_numbers("get", said["sizes"])),
        interrupted=interrupted,
        owed=owed(said["reboot"], said["stale"]),
    ).with_removals(removable, said["everything"])
    return replace(found, problem=_full(found, said["sizes"], said["free"]))


def _updates(simulation: str) -> tuple[Update, ...]:
    found = (
        Update(name, new, old, _SECURITY in origins) for name, old, new, origins in _INST.findall(simulation)
    )
    return tuple(sorted(found, key=lambda update: update.name))


def _marked(updates: Sequence[Update], security: Sequence[Update]) -> tuple[Update, ...]:
    """Say which updates mend a security problem, also where a point release has superseded the first."""
    mends = {update.name for update in security if update.security}
    return tuple(replace(u, security=u.security or u.name in mends) for u in updates)


def _numbers(word: str, text: str) -> Iterator[int]:
    return (int(number) for number in re.findall(rf"^{word} (\d+)$", text, re.MULTILINE))


def _full(pending: Pending, sizes: str, free: str) -> str:
    """Which file system would run full; empty when none would.

    dpkg unpacks a package beside the old one and removes that afterwards: the growth is needed, and the
    largest package once more.
    """
    if not pending.updates:
        return ""
    new = [kib << 10 for kib in _numbers("new", sizes)]
    growth = max(0, sum(new) - sum(kib << 10 for kib in _numbers("old", sizes))) + max(new, default=0)
    kernel = _KERNEL if any(u.name.startswith("linux-image-") and not u.old for u in pending.updates) else 0
    needed: dict[str, int] = {}
    lines = [line.split() for line in free.splitlines()[1:]]
    if len(lines) < _PLACES:
        return "df does not say how much free space it has"
    available = {place: int(octets) for octets, place in lines}
    for (_, place), octets in zip(lines, (pending.download, growth, kernel), strict=False):
        needed[place] = needed.get(place, 0) + octets
    for place, octets in needed.items():
        if octets and available[place] < octets + _SPARE:
            return (
                f"{place} has {megabytes(available[place])} free, and the upgrade needs "
                f"{megabytes(octets + _SPARE)}: make room there (apt-get clean, journalctl --vacuum-size)"
            )
    return ""


def megabytes(octets: int) -> str:
    """As apt says sizes, in powers of ten."""
    return f"{octets / 1e6:.1f} MB"


def _complaint(result: Result) -> str:
    errors = [line for line in (result.stderr + result.stdout).splitlines() if line.startswith("E: ")]
    return f"apt: {errors[-1].removeprefix('E: ')}" if errors else f"apt-get failed ({result.status})"
