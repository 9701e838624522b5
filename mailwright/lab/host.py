"""A host of the lab as tests and the command line handle it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailwright.lab import door, keys, processes
from mailwright.lab.container import Container, Seed, archive_of
from mailwright.lab.images import Image
from mailwright.lab.plan import Host, LabPlan
from mailwright.lab.progress import Progress
from mailwright.lab.shell import Completed, attempt, wait_until
from mailwright.lab.world import WorldHost
from mailwright.model.errors import LabError

_OWED = "/run/lab-restart-owed"


@dataclass(frozen=True)
class LabHost:
    """A host: its place in the plan, its image, and what the world's recipe adds to it."""

    plan: LabPlan
    host: Host
    image: Image
    world: WorldHost | None

    @property
    def name(self) -> str:
        """Its name in the fleet file."""
        return self.host.name

    @property
    def container(self) -> Container:
        """The container it is."""
        directory = self.plan.state / "hosts" / self.name
        return Container(self.plan.name, self.name, self.image, self.plan.bridge, directory)

    @property
    def running(self) -> bool:
        """Whether it runs, though it may still be booting."""
        return self.container.leader is not None

    # --- for tests

    def run(
        self, command: str | Sequence[str], stdin: str | bytes | None = None, timeout: float = 120
    ) -> Completed:
        """Run a command on it as root; a string is for `sh -c`.

        It comes in by the console, not over the network, so that it works whatever the firewall or
        sshd of the host are made to do.

        Raises:
            LabError: the host does not run, or the command does not end within `timeout` seconds.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return self.container.execute(argv, stdin, timeout)

    def in_network(
        self, argv: Sequence[str], stdin: str | bytes | None = None, timeout: float = 300
    ) -> Completed:
        """Run a program of the controller with this host's network as its own."""
        return attempt(self.container.in_network(argv), stdin=stdin, timeout=timeout)

    def network_argv(self, argv: Sequence[str]) -> list[str]:
        """The arguments with which `in_network` runs `argv`, to start it some other way."""
        return self.container.in_network(argv)

    def read(self, path: str) -> bytes:
        """A file's content.

        Raises:
            LabError: it cannot be read.
        """
        return self._file(path).read_bytes()

    def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        return self.run(["test", "-e", path]).ok

    def reset(self) -> None:
        """Bare again, in about a second: the disk of its first boot, at the same address and host key."""
        self.container.kill()
        self.container.make(self._seeds())
        self.container.start()
        self.wait_for_ssh()

    def restart(self) -> None:
        """Power off and boot with the same disk."""
        self._reboot(lambda: None)

    def kill(self) -> None:
        """Cut its power: dead at once, and nobody is told. What it wrote is still there."""
        self.container.kill()

    def start(self) -> None:
        """Boot it after `kill` or `lose_power`, with the same disk."""
        self.container.start()
        self.wait_for_ssh()

    def freeze(self) -> None:
        """Stop all of its processes where they stand; its kernel goes on accepting connections."""
        processes.freeze(self.container.unit)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        processes.freeze(self.container.unit, frozen=False)

    def give_disk(self, path: str, megabytes: int = 512) -> None:
        """Put a directory on a disk of its own, which can lose what was not written; it reboots for it."""
        self._reboot(lambda: self.container.make_disk(path, megabytes))

    def take_disks(self) -> None:
        """Remove its disks with all that is on them; it reboots for it."""
        self._reboot(self.container.remove_disks)

    def lose_power(self) -> None:
        """Cut its power: it is dead, and its disks have nothing that was not written to them."""
        self.container.lose_power()

    def snapshot(self, label: str) -> None:
        """Keep the disk under a label; the host reboots for it, so that nothing is half-written."""
        self._reboot(lambda: self.container.snapshot(label))

    def restore(self, label: str) -> None:
        """Go back to a snapshot. What runs is lost, as by a power cut."""
        self.container.kill()
        self.container.restore(label)
        self.container.start()
        self.wait_for_ssh()

    def drop_snapshot(self, label: str) -> None:
        """Remove a snapshot, if there is one of that name."""
        self.container.drop_snapshot(label)

    def status(self) -> dict[str, Any]:
        """What is known of it, as plain data. `state`: `up`, `no ssh`, `stopped` or `not made`."""
        if self.running:
            state = "up" if self.answers() else "no ssh"
        else:
            state = "stopped" if self.container.made else "not made"
        return {
            "host": self.name,
            "state": state,
            "release": self.host.release,
            "addresses": [str(i.ip) for i in self.host.interfaces],
            "fqdn": self.host.fqdn,
            "world": self.host.world,
            "snapshots": self.container.snapshots,
        }

    # --- for `lab up`

    def up(self, progress: Progress) -> None:
        """Make its disk if it has none of the wanted image, start it if it does not run or answer."""
        container = self.container
        if not container.made:
            if container.has_disk:
                progress.note(f"{self.name}: its image changed, so that it starts anew")
            container.kill()
            container.make(self._seeds())
        if self.running and self.answers():
            return
        if self.running and self._booted_before():
            progress.note(f"{self.name}: runs but does not let us in: restarted")
        container.start()
        self.wait_for_ssh()

    def configure(self) -> None:
        """Bring the world's files up to date and restart what reads them; nothing if nothing differs."""
        if self.world is None:
            return
        absent = [seed for seed in self.world.once if self._content(seed.path) is None]
        changed = [seed for seed in self.world.files if self._content(seed.path) != seed.content]
        if not absent + changed and not self.exists(_OWED):
            return
        self.run(["touch", _OWED]).require()  # so that a restart is not forgotten if we are killed
        self.run(
            ["tar", "-C", "/", "--no-overwrite-dir", "-xpf", "-"], stdin=archive_of(absent + changed)
        ).require()
        self.run("systemctl daemon-reload").require()
        if self.world.units:
            self.run(["systemctl", "restart", *self.world.units]).require(f"{self.name}: its services")
        self.run(["rm", _OWED]).require()

    def answers(self) -> bool:
        """Whether root can log in over SSH, as a deploy would."""
        # A mailwright that is killed while it asks takes the question along.
        ssh = ["setpriv", "--pdeathsig", "KILL", "ssh", *self.ssh_options, "-o", "ConnectTimeout=3"]
        return attempt([*ssh, self.login, "true"], timeout=15).ok

    def wait_for_ssh(self) -> None:
        """Wait until root can log in.

        Raises:
            LabError: not within half a minute.
        """
        try:
            wait_until(self.answers, f"{self.name} answers on ssh")
        except LabError as error:
            raise LabError(f"{error} (its console wrote {self.container.console})") from error

    @property
    def login(self) -> str:
        """What ssh connects to."""
        return f"root@{self.host.address}"

    @property
    def ssh_options(self) -> list[str]:
        """The lab's key and known hosts, and none of the operator's own configuration."""
        return [
            *("-F", "none", "-i", str(self.plan.state / "ssh" / "id_ed25519")),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
            *("-o", f"UserKnownHostsFile={self.plan.state / 'ssh' / 'known_hosts'}"),
        ]

    def _reboot(self, meanwhile: Callable[[], None]) -> None:
        self.container.stop()
        meanwhile()
        self.start()

    def _booted_before(self) -> bool:
        state = self.run(["systemctl", "is-system-running"]).stdout.strip()
        return state not in {"initializing", "starting"}

    def _content(self, path: str) -> bytes | None:
        """A file of the world's, none of which is reached through a symbolic link; `None`: not there."""
        try:
            return self.container.inside(path).read_bytes()
        except FileNotFoundError:
            return None

    def _file(self, path: str) -> Path:
        resolved = self.run(["readlink", "-m", path]).require().stdout.rstrip("\n")
        return self.container.inside(resolved)

    def _seeds(self) -> list[Seed]:
        """What a cloud's first boot gives a machine: name, addresses, keys, and a way to packages."""
        key = keys.host_key(self.plan, self.name)
        short = self.host.fqdn.partition(".")[0]
        names = f"127.0.0.1 localhost\n127.0.1.1 {self.host.fqdn} {short}\n::1 localhost\n"
        proxy = f'Acquire::http::Proxy "{door.url(self.plan.controller[0].ip)}";\n'
        login = f"{keys.operator_key(self.plan).public}\n"
        return [
            Seed("/etc/hostname", f"{short}\n".encode()),
            Seed("/etc/hosts", names.encode()),
            Seed("/etc/machine-id", f"{uuid.uuid4().hex}\n".encode(), 0o444),
            Seed("/etc/systemd/network/10-lab.network", self._network()),
            Seed("/etc/apt/apt.conf.d/30lab-proxy", proxy.encode()),
            Seed("/etc/ssh/ssh_host_ed25519_key", key.private, 0o600),
            Seed("/etc/ssh/ssh_host_ed25519_key.pub", f"{key.public}\n".encode()),
            Seed("/root/.ssh/authorized_keys", login.encode(), 0o600),
            *(self.world.files + self.world.once if self.world else ()),
        ]

    def _network(self) -> bytes:
        """systemd.network(5): static addresses, usable at once, and no route beyond the bridge."""
        network = "DHCP=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n"
        addresses = (f"Address={i}\nDuplicateAddressDetection=none\n" for i in self.host.interfaces)
        sections = [f"[Network]\n{network}", *(f"[Address]\n{address}" for address in addresses)]
        return "\n".join(["[Match]\nName=host0\n", *sections]).encode()
