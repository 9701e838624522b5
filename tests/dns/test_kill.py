"""The command is killed in the middle of publishing 500 records, and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from maildns.planning.ownership import is_marker_name, read_markers
from tests.dns.cloudflare import target as fake_target
from tests.dns.gate import Gate, gate
from tests.dns.relay import relay

ROOT = Path(__file__).parents[2]
HOSTS = range(80, 246)
ADDRESS = "127.0.0.3"
"""Where the gate stands: knot's port, at another address."""

FLEET = """
lab: {{ name: killed, ipv4: 198.51.100.0/24, ipv6: "2001:db8:100::/64" }}  # asks nobody but its own servers
owner: {{ name: Test, postmaster: postmaster@{zone} }}
providers: {{ there: {provider} }}
domains: [{{ name: {zone}, provider: there }}]
machines:
"""
MACHINE = "  - {{ name: m{n}, fqdn: m{n}.{zone}, ipv4: 198.51.100.{n}, roles: {{}} }}\n"

MOMENTS = [(1, False), (1, True), (2, False), (1, False)]
"""The number of the write, and whether the provider has taken it when the command dies."""


def write_fleet(file: Path, zone: str, provider: str) -> None:
    """500 records: an address, an SPF record and a null MX for each host, and the domain's own."""
    zone = zone.removesuffix(".")
    machines = "".join(MACHINE.format(n=n, zone=zone) for n in HOSTS)
    file.write_text(FLEET.format(zone=zone, provider=provider) + machines)


def command(file: Path, *arguments: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    """The real command, in a process of its own."""
    argv = [sys.executable, "-m", "mailwright", "dns", arguments[0], str(file), *arguments[1:]]
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        env=os.environ | environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def run(file: Path, *arguments: str, environ: dict[str, str]) -> tuple[int, str]:
    process = command(file, *arguments, environ=environ)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def kill_at(door: Gate, moment: tuple[int, bool], file: Path, environ: dict[str, str]) -> None:
    stop, answered = moment
    door.close_at(stop, answered=answered)
    process = command(file, "apply", "--yes", environ=environ)
    while not door.reached.wait(timeout=0.1):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=20) == -signal.SIGKILL
    process.communicate()
    door.close_at(None)


def story(target, door: Gate, file: Path, environ: dict[str, str], finished: int = 0) -> None:
    """Killed at every moment in turn, each time over what the run before has left."""
    target.foreign(
        f"www.{target.zone} 300 A 192.0.2.80",
        f'm87.{target.zone} 300 TXT "printer-room=3"',
        f"m88.{target.zone} 300 AAAA 2001:db8::66",
        f"{target.zone} 300 A 192.0.2.81",
    )
    theirs = {(r.name, r.type, value) for r in held(target) for value in r.rdata}
    counts = [0]
    for moment in MOMENTS:
        kill_at(door, moment, file, environ)
        now = {(r.name, r.type, value) for r in held(target) for value in r.rdata}
        assert theirs <= now
        assert len(now - theirs) >= counts[-1]
        counts.append(len(now - theirs))
        assert all_marked(target, now - theirs)
    assert len(set(counts)) > 2  # it did die in the middle
    status, out = run(file, "apply", "--yes", "--deadline", "5", environ=environ)
    assert status == finished, out
    now = {(r.name, r.type, value) for r in held(target) for value in r.rdata}
    assert len(now - theirs) >= 500
    assert theirs <= now
    status, out = run(file, "plan", "--json", environ=environ)
    assert (status, json.loads(out)["summary"]["zones"]) == (0, 1)


def held(target):
    snapshot = target.provider.fetch(target.zone)
    return [r for r in snapshot.rrsets if not is_marker_name(r.name, target.zone)]


def all_marked(target, ours: set[tuple[str, str, str]]) -> bool:
    """Whether each record that came has its marker: never one without the other."""
    snapshot = target.provider.fetch(target.zone)
    marked = {m.key for m in read_markers(snapshot.rrsets, target.zone)}
    return {(name, type_) for name, type_, _ in ours} == marked


def test_killed_over_dynamic_updates(knot, tmp_path):
    target = knot.fresh_target("plain")
    file = tmp_path / "fleet.yaml"
    where = f"type: rfc2136, server: {ADDRESS}, port: {knot.port}, key_name: all., key: tsig/test"
    write_fleet(file, target.zone, f"{{ {where} }}")

    def is_update(data: bytes) -> bool:
        return len(data) > 4 and data[4] >> 3 & 0xF == 5  # the opcode, behind two octets of length

    listen = (ADDRESS, knot.port)
    with (
        relay(ADDRESS, knot.port, "127.0.0.1", tcp=False, recursive=False),
        gate(("127.0.0.1", knot.port), is_update, listen) as (door, _),
    ):
        story(target, door, file, {"MAILWRIGHT_SECRET_TSIG_TEST": knot.key})


@pytest.mark.parametrize("ownership", ["comments", "records"])
def test_killed_over_pages_and_batches_of_an_api(cloudflare, tmp_path, ownership):
    target = fake_target(cloudflare, "free", comments=ownership == "comments")
    for zone in cloudflare.account.zones.values():
        zone.most_records = 2000  # but still batches of 200
    file = tmp_path / "fleet.yaml"
    origin = urlsplit(cloudflare.endpoint)

    def is_batch(data: bytes) -> bool:
        return data.startswith(b"POST ") and b"/batch" in data.split(b"\r\n", 1)[0]

    with gate((origin.hostname, origin.port), is_batch) as (door, port):
        endpoint = origin._replace(netloc=f"{origin.hostname}:{port}").geturl()
        where = f"type: cloudflare, token: cloudflare/token, ownership: {ownership}, endpoint: '{endpoint}'"
        write_fleet(file, target.zone, f"{{ {where} }}")
        token = cloudflare.token(target.zone.removesuffix("."))
        # The fake has no name servers that could be asked: an apply ends with saying so.
        story(target, door, file, {"MAILWRIGHT_SECRET_CLOUDFLARE_TOKEN": token}, finished=1)
