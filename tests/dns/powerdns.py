"""PowerDNS on loopback, through octoDNS: a target of the provider contract."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from maildns.providers.octodns_adapter import Octodns
from tests.dns.server import free_port
from tests.dns.target import Lines, Target

SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")

CONFIG = """
launch=gsqlite3
gsqlite3-database={dir}/pdns.sqlite3
gsqlite3-pragma-synchronous=0
local-address=127.0.0.1
local-port={port}
socket-dir={dir}
setuid=
setgid=
webserver=yes
webserver-address=127.0.0.1
webserver-port={api_port}
webserver-allow-from=127.0.0.1
webserver-loglevel=none
api=yes
api-key={key}
enable-lua-records=yes
security-poll-suffix=
# Answers must not be older than the zone: tests ask right after a change.
query-cache-ttl=0
cache-ttl=0
negquery-cache-ttl=0
"""


@dataclass
class PowerDns:
    """A pdns_server of our own, spoken to by its API."""

    port: int
    api_port: int
    key: str = field(repr=False)
    process: subprocess.Popen[bytes]
    made: int = 0

    def fresh(self) -> str:
        """A zone that nobody has used."""
        self.made += 1
        zone = f"powerdns{self.made}.example."
        content = {
            "name": zone,
            "kind": "Native",
            "soa_edit_api": "DEFAULT",
            "nameservers": [f"ns.{zone}"],
            "rrsets": [_rrset(f"ns.{zone}", "A", 3600, ["127.0.0.1"])],
        }
        self.api("POST", "zones", content)
        return zone

    def api(self, method: str, path: str, content: Any = None) -> Any:
        """One request to PowerDNS's own API."""
        answer = requests.request(
            method,
            f"http://127.0.0.1:{self.api_port}/api/v1/servers/localhost/{path}",
            json=content,
            headers={"X-API-Key": self.key},
            timeout=20,
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def held(self, zone: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The sets of a zone as PowerDNS tells them."""
        return {(r["name"], r["type"]): r for r in self.api("GET", f"zones/{zone}")["rrsets"]}

    def edit(self, how: str, zone: str, lines: Lines) -> None:
        """Somebody else adds or deletes records, others in the same set left as they are."""
        for line in lines:
            name, ttl, type_, content = line.split(maxsplit=3)
            old = self.held(zone).get((name, type_), {"records": []})
            values = [r["content"] for r in old["records"] if r["content"] != content]
            values += [content] if how == "add" else []
            change = _rrset(name, type_, int(ttl), values) | {"changetype": "REPLACE" if values else "DELETE"}
            self.api("PATCH", f"zones/{zone}", {"rrsets": [change]})

    def provider(self, **options: Any) -> Octodns:
        return Octodns(
            "octodns_powerdns.PowerDnsProvider",
            {"host": "127.0.0.1", "port": self.api_port} | options,
            {"api_key": self.key},
        )

    def target(self, zone: str) -> Target:
        add, delete = partial(self.edit, "add", zone), partial(self.edit, "delete", zone)
        return Target(zone, self.provider(), add, delete, spine=frozenset({zone, f"ns.{zone}"}))


def _rrset(name: str, type_: str, ttl: int, contents: list[str]) -> dict[str, Any]:
    records = [{"content": content, "disabled": False} for content in contents]
    return {"name": name, "type": type_, "ttl": ttl, "records": records}


def _until_it_answers(server: PowerDns, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            server.api("GET", "zones")
        except requests.ConnectionError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"pdns_server does not answer: {log.read_text()}")


@pytest.fixture(scope="session", name="powerdns")
def powerdns_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    if shutil.which("pdns_server") is None or not SCHEMA.exists():
        pytest.fail("PowerDNS is not installed: apt-get install pdns-server pdns-backend-sqlite3")
    directory = tmp_path_factory.mktemp("powerdns")
    with sqlite3.connect(directory / "pdns.sqlite3") as database:
        database.executescript(SCHEMA.read_text())
    port, api_port = free_port(), free_port()
    key = secrets.token_urlsafe(24)
    config = CONFIG.format(dir=directory, port=port, api_port=api_port, key=key)
    (directory / "pdns.conf").write_text(config)
    with (directory / "log").open("wb") as log:
        command = ["pdns_server", f"--config-dir={directory}", "--daemon=no", "--guardian=no"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            server = PowerDns(port, api_port, key, process)
            _until_it_answers(server, directory / "log")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def powerdns_target(powerdns: PowerDns) -> Target:
    return powerdns.target(powerdns.fresh())
