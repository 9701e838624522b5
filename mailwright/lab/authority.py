"""The lab's certificate authority as tests and `lab up` handle it."""

from __future__ import annotations

from dataclasses import dataclass

from mailwright.lab.host import LabHost
from mailwright.lab.keys import ca_file
from mailwright.lab.shell import wait_until
from mailwright.lab.world.ca import DIRECTORY_PORT, ROOTS
from mailwright.model.errors import LabError


@dataclass(frozen=True)
class Authority:
    """pebble on the host `ca`."""

    host: LabHost

    @property
    def directory(self) -> str:
        """The URL at which ACME clients begin."""
        return f"https://{self.host.host.fqdn}:{DIRECTORY_PORT}/dir"

    @property
    def roots(self) -> bytes:
        """What a client trusts that is to verify what was issued, since its last restart and before (PEM)."""
        return self.host.run(f"cat {ROOTS}/*.pem").require().stdout.encode()

    @property
    def trusted(self) -> bytes:
        """Those roots and the lab's own authority: whatever any host of the lab may show (PEM)."""
        return ca_file(self.host.plan).read_bytes() + self.roots

    def start(self) -> None:
        """Start it, or start it anew: accounts, orders and the root are others then.

        Raises:
            LabError: it does not answer.
        """
        self.host.run(["systemctl", "restart", "pebble.service"]).require()
        self.wait_until_ready()

    def stop(self) -> None:
        """An authority that is down: connections are refused."""
        self.host.run(["systemctl", "stop", "pebble.service"]).require()

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            LabError: not within half a minute.
        """
        url = f"https://localhost:{DIRECTORY_PORT}/dir"
        ask = ["curl", "-sf", "--insecure", "--max-time", "3", "-o", "/dev/null", url]
        try:
            wait_until(lambda: self.host.run(ask).ok, "ca issues certificates")
        except LabError as error:
            said = self.host.run("journalctl -u pebble -n 3 -o cat").stdout.strip()
            raise LabError(f"{error}: {said}") from None
