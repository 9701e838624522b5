"""A lab as one thing: bring it up, ask it, take it down. Tests and the command line both use this."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from mailwright.lab import door, images, keys, network, remains
from mailwright.lab.archive import Archive, machine_archive
from mailwright.lab.authority import Authority
from mailwright.lab.host import LabHost
from mailwright.lab.locks import exclusive
from mailwright.lab.machine import prepare, require_root
from mailwright.lab.mailbox import Mailbox
from mailwright.lab.nameserver import NameServer
from mailwright.lab.plan import LabPlan
from mailwright.lab.progress import Progress
from mailwright.lab.world import WorldHost
from mailwright.lab.world.ca import certificate_authority
from mailwright.lab.world.depot import depot
from mailwright.lab.world.mailbox import mailbox_provider
from mailwright.lab.world.ns import name_server
from mailwright.lab.world.outside import outsider
from mailwright.model.errors import LabError
from mailwright.model.fleet import Fleet
from mailwright.model.load import fleet_file, load_fleet
from mailwright.model.secrets_store import initialise, locate

T = TypeVar("T")
SILENT = Progress()


@dataclass(frozen=True)
class Lab:
    """The lab of a fleet file. It holds no state of its own: what is asked is looked at."""

    plan: LabPlan

    @classmethod
    def open(cls, fleet: Fleet | str | Path, file: str | Path | None = None) -> Lab:
        """The lab of a fleet file (`X.yaml` or the `X.py` beside it), or of a loaded fleet and its file.

        Raises:
            FleetError: the file is wrong.
            LabError: the fleet is not a lab.
        """
        if isinstance(fleet, Fleet):
            return cls(LabPlan.of(fleet, Path(file or "fleet.yaml")))
        return cls(LabPlan.of(load_fleet(fleet), fleet_file(fleet)))

    # --- its hosts

    @cached_property
    def hosts(self) -> tuple[LabHost, ...]:
        """All hosts, the world's first."""
        made = {r: images.base_image(r, self.archive) for r in sorted({h.release for h in self.plan.hosts})}
        found = []
        for host in self.plan.hosts:
            image, world = made[host.release], self._world.get(host.name)
            if world:
                image = images.Image(host.name, host.release, self.archive, world.packages, parent=image)
            found.append(LabHost(self.plan, host, image, world))
        return tuple(found)

    @cached_property
    def archive(self) -> Archive:
        """The Debian archive the lab is built from: this machine's own."""
        return machine_archive()

    @cached_property
    def _world(self) -> dict[str, WorldHost]:
        makers = {
            "ns": name_server,
            "mailbox": mailbox_provider,
            "outside": outsider,
            "ca": certificate_authority,
            "depot": depot,
        }
        return {name: make(self.plan) for name, make in makers.items()}

    def host(self, name: str) -> LabHost:
        """A host by its name in the fleet file, or `ns`, `mailbox`, `outside`, `ca`, `depot`.

        Raises:
            LabError: there is none; the message lists those there are.
        """
        self.plan.host(name)
        return next(h for h in self.hosts if h.name == name)

    @property
    def mailbox(self) -> Mailbox:
        """The mailbox provider: what it received."""
        return Mailbox(self.host("mailbox"))

    @property
    def ca(self) -> Authority:
        """The certificate authority."""
        return Authority(self.host("ca"))

    @property
    def ns(self) -> NameServer:
        """The name server, asked directly."""
        return NameServer(self.plan)

    # --- its life

    def up(self, progress: Progress = SILENT) -> None:
        """Make whatever is missing and start whatever does not run. Twice is once.

        Raises:
            LabError: something could not be made; running it again goes on where it stopped.
        """
        require_root()
        prepare(progress)
        with self._locked(progress):
            with progress.step(f"bridge {self.plan.bridge}: {', '.join(map(str, self.plan.controller))}"):
                network.make_bridge(self.plan.bridge, self.plan.controller)
                log = self.plan.state / "packages.log"
                door.open_door(self.plan.name, self.plan.controller[0].ip, self.archive, log)
            self._keys(progress)
            self._images(progress)
            with progress.step(f"{len(self.hosts)} hosts answer on ssh"):
                each(self.hosts, lambda host: host.up(progress))
            with progress.step("the world is ready: signed zones, mail taken and judged"):
                each([h for h in self.hosts if h.world], lambda host: host.configure())
                self.ns.wait_until_ready()
                self.mailbox.wait_until_ready()
                self.ca.wait_until_ready()
        progress.total(f"lab {self.plan.name} is up")

    def down(self, progress: Progress = SILENT) -> None:
        """Stop everything that runs; disks and keys stay."""
        require_root()
        with self._locked(progress):
            with progress.step("hosts shut down"):
                each(self.hosts, lambda host: host.container.stop())
            remains.stop(self.plan.name)  # whatever else runs under this lab's name
        progress.total(f"lab {self.plan.name} is down; its disks are kept")

    def destroy(self) -> None:
        """Leave no process, mount, interface or file of this lab; cached images and packages stay."""
        require_root()
        if self.plan.name in remains.labs():
            remains.destroy(self.plan.name)

    def reset(self, names: Iterable[str], progress: Progress = SILENT) -> None:
        """Make hosts bare again, in parallel."""
        self._each(names, "is bare again", lambda host: host.reset(), progress)

    def snapshot(self, names: Iterable[str], label: str, progress: Progress = SILENT) -> None:
        """Keep the disks of hosts under a label, in parallel."""
        self._each(names, f"is kept as {label}", lambda host: host.snapshot(label), progress)

    def restore(self, names: Iterable[str], label: str, progress: Progress = SILENT) -> None:
        """Put hosts back to a snapshot, in parallel."""
        self._each(names, f"is back at {label}", lambda host: host.restore(label), progress)

    def _each(
        self, names: Iterable[str], done: str, act: Callable[[LabHost], None], progress: Progress
    ) -> None:
        def one(host: LabHost) -> None:
            with progress.step(f"{host.name} {done}"):
                act(host)

        each([self.host(name) for name in names], one)

    def status(self) -> list[dict[str, Any]]:
        """What is known of each host: plain data."""
        found: list[dict[str, Any]] = []
        each(self.hosts, lambda host: found.append(host.status()))
        order = [host.name for host in self.hosts]
        return sorted(found, key=lambda row: order.index(row["host"]))

    def _locked(self, progress: Progress) -> AbstractContextManager[None]:
        def waiting() -> None:
            progress.note(f"waiting: another command works on the lab {self.plan.name}")

        self.plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not the state directory itself: whoever changes the secrets file locks that one.
        return exclusive(self.plan.state / "hosts", waiting)

    def _keys(self, progress: Progress) -> None:
        with progress.step("keys, trust anchors and secrets"):
            keys.operator_key(self.plan)
            keys.write_known_hosts(self.plan)
            keys.write_anchors(self.plan)
            vault = locate(self.plan.fleet, self.plan.file)
            known = {self.plan.provider.key: keys.tsig_secret(self.plan)}
            known |= keys.fleet_certificates(self.plan) | keys.acme_secrets(self.plan)
            known |= keys.backup_secrets(self.plan)
            initialise(self.plan.fleet, vault.file, vault.identity, extra=known)

    def _images(self, progress: Progress) -> None:
        wanted = {host.image.place: host.image for host in self.hosts}
        bases = {i.parent.place: i.parent for i in wanted.values() if i.parent}
        for level in ({**{p: i for p, i in wanted.items() if not i.parent}, **bases}, wanted):
            each([i for i in level.values() if not i.exists], lambda image: _build(image, progress))


def _build(image: images.Image, progress: Progress) -> None:
    def waiting() -> None:
        progress.note(f"waiting: another command builds the {image.name} image")

    with progress.step(f"image {image.name} built"):
        images.build(image, waiting)


def each(items: Iterable[T], act: Callable[[T], None]) -> None:
    """Do something to each in parallel; every failure is told, one line each.

    Raises:
        LabError: some failed.
    """
    items = list(items)
    with ThreadPoolExecutor(max_workers=max(1, len(items))) as pool:
        futures = [pool.submit(act, item) for item in items]
    problems = [problem for problem in (f.exception() for f in futures) if problem]
    if len(problems) == 1 or any(not isinstance(p, LabError) for p in problems):
        raise next((p for p in problems if not isinstance(p, LabError)), problems[0])
    if problems:
        raise LabError("\n".join(map(str, problems)))
