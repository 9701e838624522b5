"""Needs that take a question of their own beside the one look: a command, and a judgement on what it said.

Pure. A command runs as root on the machine, only reads, and costs a fraction of a second.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address

from mailwright.model.errors import UnknownError
from mailwright.model.needs import Scrape, Sysctl, Unit
from mailwright.model.role import Result
from mailwright.verify.expectation import Fault

_LOOP = 5
"""Restarts by systemd within `_MINUTES` that make a loop. At five in ten seconds systemd itself gives up
(systemd.unit(5), StartLimitBurst=), but a unit that waits in between goes on for ever."""
_MINUTES = 10
_METRIC = re.compile(r"#|[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\}|[ \t]+[-+]?([0-9.]|Inf|NaN))")
"""The first line of metrics: a comment or a sample (prometheus.io, Exposition formats, Text-based format)."""
_CHUNK = re.compile(r"\A[0-9A-Fa-f]+ *(;[^\n]*)?\r\n")
"""The size of a chunk (RFC 9112, section 7.1), in which some servers answer an HTTP/1.0 client, too."""


@dataclass(frozen=True)
class Question:
    """What is asked of the machine, and who judges the answer; `None` is a pass."""

    command: str
    judge: Callable[[Result], Fault | None]


def restarts() -> Question:
    """No service is restarted by systemd again and again.

    systemd counts since the last start that somebody asked for (`NRestarts`), and the journal knows when
    each was (SD_MESSAGE_UNIT_RESTART_SCHEDULED, sd-messages.h): daily restarts add up, but are no loop.
    """
    command = (
        "systemctl show -p Id,NRestarts '*.service' | grep -v '^$'; echo; "
        f"said=$(journalctl -q --no-pager --since=-{_MINUTES}min -o cat --output-fields=UNIT"
        " MESSAGE_ID=5eb03494b6584870a536b337290809b3) &&"
        " printf '%s\\n' \"$said\" | sort | uniq -c && echo read"
    )

    def judge(result: Result) -> Fault | None:
        counted, _, lately = result.stdout.partition("\n\n")
        if "NRestarts=" not in counted:
            raise UnknownError(f"systemd does not say: {result.stderr.strip()[:200] or 'no answer'}")
        if not lately.endswith("read\n"):
            raise UnknownError(f"the journal cannot be read: {result.stderr.strip()[:200] or 'no answer'}")
        since_start = _since_start(counted)
        recent = {name: int(count) for count, name in re.findall(r"^ *(\d+) (\S+)$", lately, re.MULTILINE)}
        loops = [
            f"{name} {recent[name]} times in {_MINUTES} minutes"
            for name, count in since_start.items()
            if min(count, recent.get(name, 0)) >= _LOOP
        ]
        return Fault("no unit restarted in a loop", ", ".join(loops)) if loops else None

    return Question(command, judge)


def _since_start(text: str) -> dict[str, int]:
    """Unit to its NRestarts; systemctl prints a unit's properties in an order of its own."""
    counts: dict[str, int] = {}
    pair: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        pair[key] = value
        if len(pair) == 2:  # noqa: PLR2004 - both of the properties that are asked for
            counts[pair["Id"]] = int(pair["NRestarts"])
            pair = {}
    return counts


def timer(need: Unit) -> Question:
    """A next run of a timer is due, and the last run of what it starts went well."""
    name = shlex.quote(need.name)
    command = (
        f"systemctl show -p ActiveState,SubState {name} && "
        f'systemctl show -p Id,Result,ExecMainStatus -- "$(systemctl show -P Unit {name})"'
    )

    def judge(result: Result) -> Fault | None:
        seen = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
        if not {"SubState", "Id"} <= seen.keys():
            raise UnknownError(f"systemd does not say: {result.stderr.strip()[:200] or 'no answer'}")
        # `elapsed` is active, too, but never again due. systemd.timer(5)
        if seen["SubState"] not in ("waiting", "running"):
            return Fault("a next run", f"none is due: {seen['ActiveState']} ({seen['SubState']})")
        if seen.get("Result", "success") != "success":
            status = f"{seen['Result']}, exit status {seen.get('ExecMainStatus', 'unknown')}"
            return Fault("a last run that went well", f"{seen.get('Id', 'it')} ended with {status}")
        return None

    return Question(command, judge)


_SETTING = re.compile(r"-?([^=\s]+)\s*=\s*(.*?)\s*")


def sysctls_on_disk(needs: Iterable[Sysctl]) -> Question:
    """The next boot sets the same: no other file says otherwise of a setting of ours.

    `--cat-config` prints every file in the order of systemd-sysctl.service(8), those that are masked or
    replaced left out. The last word counts, and a full name beats a pattern (sysctl.d(5)).
    """
    wanted = {need.key: " ".join(need.value.split()) for need in needs}
    command = "/usr/lib/systemd/systemd-sysctl --cat-config | grep -E '^# /|^[^#;]*='"

    def judge(result: Result) -> Fault | None:
        if not result.stdout.strip():
            raise UnknownError(f"it cannot be read: {result.stderr.strip()[:200] or 'no answer'}")
        named, globbed = _settings(result.stdout)
        faults = []
        for name, value in wanted.items():
            key = _key(name)
            matching = [said for pattern, said in globbed if fnmatchcase(key, pattern)]
            said = named.get(key) or (matching[-1] if matching else None)
            if said is None:
                faults.append((f"{name} = {value}", f"{name} in no file"))
            elif said[0] != value:
                faults.append((f"{name} = {value}", f"{name} = {said[0]} in {said[1]}"))
        return Fault(*(", ".join(side) for side in zip(*faults, strict=True))) if faults else None

    return Question(command, judge)


def _key(text: str) -> str:
    """A key by one spelling; the first separator decides which one it is (sysctl.d(5))."""
    slash, dot = text.find("/"), text.find(".")
    return text if slash >= 0 and (dot < 0 or slash < dot) else text.translate(str.maketrans("./", "/."))


Said = tuple[str, str]
"""A value and the file that says it."""


def _settings(text: str) -> tuple[dict[str, Said], list[tuple[str, Said]]]:
    named: dict[str, Said] = {}
    globbed: list[tuple[str, Said]] = []
    file = "?"
    for line in text.splitlines():
        if line.startswith("# /"):
            file = line[2:].partition(" ")[0]
        elif found := _SETTING.fullmatch(line.strip()):
            key, said = _key(found[1]), (" ".join(found[2].split()), file)
            if set("*?[") & set(key):
                globbed.append((key, said))
            else:
                named[key] = said
    return named, globbed


def scrape(need: Scrape, address: IPv4Address | IPv6Address) -> Question:
    """Metrics are served at an address of the machine: HTTP says 200 and sends what Prometheus reads.

    A page for people is none, as a server may have it for every path.
    """
    path = need.path.replace("'", "%27")
    host = f"[{address}]" if address.version == 6 else f"{address}"  # noqa: PLR2004 - IPv6
    ask = (
        f"exec 3<>/dev/tcp/{address}/{need.port} && "
        rf'printf "GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n" >&3 && head -c 2000 <&3'
    )
    command = f"timeout 15 bash -c {shlex.quote(ask)}"

    def judge(result: Result) -> Fault | None:
        head, _, body = result.stdout.partition("\r\n\r\n")
        status = head.partition("\r\n")[0]
        if re.match(r"HTTP/\d\S* 200\b", status):
            first = _CHUNK.sub("", body.strip()).partition("\n")[0]
            found = f"{status}, and then {first[:200] or 'nothing'}"
            return None if _METRIC.match(first) else Fault(f"metrics at {need.path}", found)
        said = (status or result.stderr).strip().splitlines() or ["nothing"]
        return Fault(f"metrics at {need.path}", said[-1][:200])

    return Question(command, judge)
