"""Planning a thousand domains at Cloudflare (a fake) and Route 53 (moto): ours against octoDNS.

Both plan the same 8,000 records in 1,000 zones that already hold them, at servers in this process, in turn
within one run. What each asks is counted at the server; time and memory are those of the tool's whole
process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.dnszones import TTL, absolute, write_octodns, zones
from bench.tables import Column, ratio, table

OURS, THEIRS = "mailwright (maildns)", "octoDNS"
NOTHING = {OURS: "\n0 changes of records", THEIRS: "No changes were planned"}
"""What each prints when there is nothing to change."""
# A process is charged with what its parent held when it was made, and we hold all the zones: so a small
# process stands between.
LAUNCH = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=file)
sys.exit(status)
"""

AWS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
SECONDS = Column("median", lambda s: f"{s:.1f} s", "time against ours")


@dataclass(frozen=True)
class Run:
    """One plan of everything."""

    seconds: float
    mebibytes: float
    """The most that the process held resident."""
    calls: int


@dataclass(frozen=True)
class Api:
    """A provider's API on loopback that holds the zones."""

    name: str
    endpoint: str
    calls: Counter[str]
    fresh_token: Callable[[], str] = str
    """A token that has asked nothing yet: rates are limited by token."""


def measure(folder: Path, rounds: int) -> dict[str, dict[str, list[Run]]]:
    """The runs of each tool at each API, in turn; one uncounted run each first.

    Raises:
        RuntimeError: a tool failed, or found something to change.
    """
    found: dict[str, dict[str, list[Run]]] = {}
    with ExitStack() as stack:
        for api in (stack.enter_context(_cloudflare()), stack.enter_context(_route53())):
            found[api.name] = {OURS: [], THEIRS: []}
            for number in range(rounds + 1):
                for tool, runs in found[api.name].items():
                    run = _run(tool, api, folder / api.name)
                    said = f"{run.seconds:.1f} s, {run.mebibytes:.0f} MiB, {run.calls} calls"
                    print(f"  round {number}: {api.name}: {tool}: {said}", flush=True)
                    if number:
                        runs.append(run)
    return found


def tables(found: Mapping[str, Mapping[str, list[Run]]]) -> str:
    """The result as Markdown, a table for each API."""
    return "\n".join(f"### {name}\n\n{_table(runs)}\n" for name, runs in found.items()).rstrip()


def _table(by_tool: Mapping[str, list[Run]]) -> str:
    memory = {tool: [run.mebibytes for run in runs] for tool, runs in by_tool.items()}
    calls = {tool: [float(run.calls) for run in runs] for tool, runs in by_tool.items()}
    rows = table("tool", SECONDS, {tool: [run.seconds for run in runs] for tool, runs in by_tool.items()})
    rows[0] += " peak memory | against ours | API calls | against ours |"
    rows[1] += "---:|---:|---:|---:|"
    for at, tool in enumerate(by_tool, start=2):
        rows[at] += f" {max(memory[tool]):.0f} MiB | {ratio(memory, tool):.1f} |"
        rows[at] += f" {max(calls[tool]):.0f} | {ratio(calls, tool):.1f} |"
    return "\n".join(rows)


def _run(tool: str, api: Api, folder: Path) -> Run:
    folder.mkdir(exist_ok=True)
    if tool == OURS:
        argv = [sys.executable, "-m", "bench.dnszones", api.name, api.endpoint]
    else:
        config = write_octodns(folder, api.name, api.endpoint)
        argv = [str(Path(sys.executable).with_name("octodns-sync")), "--config-file", str(config)]
    environ = {**os.environ, "BENCH_TOKEN": api.fresh_token(), "AWS_ENDPOINT_URL_ROUTE_53": api.endpoint}
    environ |= {**AWS, "PYTHONPATH": "dns"}
    api.calls.clear()
    peak = folder / "peak"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, str(peak), *argv],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode or NOTHING[tool] not in f"\n{done.stdout}":
        raise RuntimeError(f"{tool} at {api.name} failed, or would change something:\n{done.stdout[-2000:]}")
    return Run(seconds, int(peak.read_text()) / 1024, sum(api.calls.values()))


@contextmanager
def _cloudflare() -> Iterator[Api]:
    from tests.dns.cloudflare import add  # noqa: PLC0415 - the servers load only for this benchmark
    from tests.dns.cloudflare_fake.server import serving  # noqa: PLC0415 - as above

    with serving() as fake:
        for zone, records in zones():
            held = fake.account.add(zone.rstrip("."), "pro")
            lines = (f"{absolute(label, zone)} {TTL} {type_} {value}" for label, type_, value in records)
            add(held, tuple(lines))
        yield Api("Cloudflare", fake.endpoint, fake.calls, fake.token)


@contextmanager
def _route53() -> Iterator[Api]:
    os.environ.update(AWS)
    from tests.dns.amazon import Amazon, serve  # noqa: PLC0415 - as above
    from tests.dns.route53 import Hand  # noqa: PLC0415 - as above

    serving = serve(Amazon())
    amazon = next(serving)
    hand = Hand(amazon)
    for zone, records in zones():
        hand.create(zone)
        hand.change(zone, "CREATE", *(_as_route53(zone, *record) for record in records))
    yield Api("Route 53", amazon.endpoint, amazon.calls)
    next(serving, None)


def _as_route53(zone: str, label: str, type_: str, value: str) -> dict[str, object]:
    if type_ == "TXT":
        value = " ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))
    name = absolute(label, zone)
    return {"Name": name, "Type": type_, "TTL": TTL, "ResourceRecords": [{"Value": value}]}
