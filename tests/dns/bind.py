"""named (BIND 9) on loopback: a target of the provider contract, plain and signed by a dnssec-policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dns.server import KEY, READ_KEY, NameServer, free_port, running, write_zones
from tests.dns.target import Target

# A dnssec-policy cuts TTLs above max-zone-ttl (a day unless it says otherwise) without a word.
BIND = """
options {{
    directory "{dir}";
    pid-file "{dir}/pid";
    session-keyfile "{dir}/session.key";
    managed-keys-directory "{dir}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    notify no;
    dnssec-validation no;
    max-cache-size 2M;
}};
controls {{ }};
key all. {{ algorithm hmac-sha256; secret "{key}"; }};
key reader. {{ algorithm hmac-sha256; secret "{read_key}"; }};
dnssec-policy lab {{
    keys {{ csk lifetime unlimited algorithm ecdsap256sha256; }};
    max-zone-ttl 2147483647;
}};
"""

ZONE = """zone "{name}" {{
    type primary; file "{name}zone"; update-policy {{ grant all. zonesub any; }};
    allow-transfer {{ key all.; key reader.; }};{signed}
}};
"""


@pytest.fixture(scope="session", name="bind")
def bind_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    directory = tmp_path_factory.mktemp("bind")
    port = free_port()
    config = BIND.format(dir=directory, port=port, key=KEY, read_key=READ_KEY)
    names = write_zones(directory)
    for name in names:
        signed = "\n    dnssec-policy lab;" if name.startswith("signed") else ""
        config += ZONE.format(name=name, signed=signed)
    file = directory / "named.conf"
    file.write_text(config)
    # In the foreground, logging to standard error; as whoever runs the tests.
    with running(["named", "-g", "-n", "1", "-c", str(file)], directory, port, names[-1]) as process:
        yield NameServer(directory, port, process)


@pytest.fixture
def bind_target(bind: NameServer) -> Target:
    return bind.fresh_target("plain")


@pytest.fixture
def bind_signed_target(bind: NameServer) -> Target:
    return bind.fresh_target("signed")
