"""Bring the fleet of inventory/vagrant.yaml up in containers, deploy, verify, destroy it; leave nothing."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mailwright.elsewhere import derived
from mailwright.lab.archive import machine_archive
from mailwright.lab.machine import prepare, require_root
from mailwright.lab.progress import Progress
from mailwright.lab.shell import attempt
from mailwright.model.errors import LabError, MailwrightError
from mailwright.model.load import load_fleet
from vagrant.proof import box, world
from vagrant.proof.world import World

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "inventory" / "vagrant.yaml"
FROM, TO = "newsletter@brightpost.example", "replies@brightpost.example"


@dataclass(frozen=True)
class Proof:
    """One run, in a folder of its own."""

    folder: Path
    progress: Progress

    @property
    def inventory(self) -> Path:
        """The fleet file as it is deployed here."""
        return self.folder / "fleet" / "vagrant.yaml"

    @property
    def environment(self) -> Mapping[str, str]:
        """What keeps Vagrant's state in this folder."""
        return {
            **os.environ,
            "MAILWRIGHT_FLEET": str(self.inventory),
            "MAILWRIGHT_BRIDGE": world.FLEET,
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_CWD": str(ROOT / "vagrant"),
            "VAGRANT_DEFAULT_PROVIDER": "lxc",
            "VAGRANT_DOTFILE_PATH": str(self.folder / "state"),
            "VAGRANT_HOME": str(self.folder / "home"),
        }

    def command(self, *words: str) -> str:
        """Run a command as a user would, showing it; its output is shown if it fails.

        Raises:
            LabError: it failed.
        """
        with self.progress.step("$ " + " ".join(words).replace(str(self.folder), "...")):
            done = subprocess.run(
                words,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                text=True,
                capture_output=True,
                check=False,
            )
            if done.returncode != 0:
                sys.stderr.write(done.stdout + done.stderr)
                raise LabError(f"{' '.join(words[:3])}: exit status {done.returncode}")
        return done.stdout

    @contextmanager
    def machines(self) -> Iterator[None]:
        """The machines, until they are destroyed."""
        try:
            self.command("vagrant", "up")
            yield
        finally:
            self.command("vagrant", "destroy", "--force")
            world.forget_groups()

    def write_fleet(self, boxes: Mapping[str, str], zone: str, anchors: Path) -> None:
        """The fleet file with boxes that are here, and a zone that is not found from the root."""

        def edit(data: dict[str, Any]) -> None:
            data["vagrant"]["boxes"] = dict(boxes)
            data["secrets"] = {
                "file": str(self.folder / "secrets.age"),
                "identity": str(self.folder / "identity"),
            }
            ssh = data["defaults"]["ssh"]
            ssh.update(config=str(self.folder / "ssh_config"), known_hosts=str(self.folder / "known_hosts"))
            unbound = {"forward": {zone: [str(world.CONTROLLER.ip)]}, "trust_anchors": str(anchors)}
            data["defaults"].setdefault("roles", {})["unbound"] = unbound

        derived(FLEET, self.inventory.parent, edit)


def prove(proof: Proof) -> None:
    """The whole run.

    Raises:
        MailwrightError: a step failed.
    """
    fleet, archive = load_fleet(FLEET), machine_archive()
    if fleet.vagrant is None:
        raise LabError(f"{FLEET}: this fleet has no section `vagrant`")
    zone = fleet.domains[0].name
    anchors = proof.folder / "anchors"
    anchors.touch()  # known once the zone is signed
    surroundings = World(proof.folder, fleet.vagrant)
    releases = sorted({machine.debian for machine in fleet.machines})
    with ExitStack() as stack:
        stack.enter_context(surroundings.networks())
        stack.enter_context(surroundings.addresses())
        stack.enter_context(surroundings.packages(archive))
        proof.write_fleet({f"debian-{each}": f"mailwright/debian-{each}" for each in releases}, zone, anchors)
        for each in releases:
            with proof.progress.step(f"a box of Debian {each}"):
                file = box.build(each, archive, proof.folder, bridge=world.NAT, proxy=world.PROXY)
            proof.command("vagrant", "box", "add", "--name", f"mailwright/debian-{each}", str(file))
            file.unlink()
        proof.command("vagrant", "validate")
        inventory = str(proof.inventory)
        proof.command("mailwright", "secrets", "init", inventory)
        export = ("--zone", zone.bare, "--ns", "ns.example.net", "--out", str(proof.folder))
        proof.command("mailwright", "dns", "export", inventory, *export)
        anchors.write_text(stack.enter_context(surroundings.zone(zone, proof.folder / f"{zone.bare}.zone")))
        stack.enter_context(proof.machines())
        shim = str(proof.inventory.with_suffix(".py"))
        proof.command("pyinfra", "-y", shim, "deploy.py")
        proof.command("mailwright", "plan", shim)  # exit status 2 if there is anything left to do
        sys.stdout.write(proof.command("mailwright", "verify", shim))
        deliver(proof)
    leftovers()


def deliver(proof: Proof) -> None:
    """Mail gets from one machine to the other: found by the zone, signed, kept."""
    sender, receiver = (machine.name for machine in load_fleet(FLEET).machines)
    letter = f"printf 'Subject: Hello\\n\\nFrom {sender}.\\n' | sudo sendmail -f {FROM} {TO}"
    proof.command("vagrant", "ssh", sender, "-c", letter)
    search = "sudo grep -rl '^DKIM-Signature: ' /srv/mail"
    proof.command("vagrant", "ssh", receiver, "-c", f'timeout 60 sh -c "until {search}; do sleep 0.2; done"')


def leftovers() -> None:
    """See that nothing is left.

    Raises:
        LabError: something is.
    """
    links = [link for link in (world.NAT, world.FLEET) if attempt(["ip", "link", "show", link]).ok]
    if left := [*world.containers(), *links]:
        raise LabError(f"left behind: {', '.join(left)}")


def _sweep() -> None:
    for name in world.containers():
        attempt(["lxc-destroy", "--force", "--name", name]).require(
            f"removing {name}, which a killed run left"
        )


def main() -> None:
    """Exit status: 0 proved, 1 not."""
    argparse.ArgumentParser(prog="make vagrant", description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    progress = Progress(Console())
    try:
        require_root()
        prepare(progress)
        _sweep()
        with tempfile.TemporaryDirectory(prefix="mailwright-vagrant-", dir="/var/tmp") as folder:
            prove(Proof(Path(folder), progress))
    except MailwrightError as error:
        sys.exit(str(error))
    progress.total("proved: up, deployed, converged, verified, mail delivered, destroyed; nothing is left")


if __name__ == "__main__":
    main()
