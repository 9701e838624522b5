"""One host of the lab: a system container over an overlay of an image.

The overlay is mounted in a mount namespace that only the container's own processes live in. Whatever
ends them, the kernel unmounts it, so that there is no stale mount to find.
"""

from __future__ import annotations

import io
import shutil
import signal
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mailwright.lab import disks, processes
from mailwright.lab.images import Image, overlay
from mailwright.lab.shell import CONTAINED, Completed, attempt, run, wait_until
from mailwright.model.errors import LabError

_POWER_OFF = signal.SIGRTMIN + 4
"""What systemd as PID 1 powers off at (systemd(1), SIGNALS)."""

_NSPAWN = Path("/run/systemd/nspawn")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# An overlay's options and its place, then image and place of each disk, then the command.
_MOUNTED = (
    'mount -t overlay overlay -o "$1" "$2"; shift 2; '
    'while [ "$1" != -- ]; do mount -o loop "$1" "$2"; shift 2; done; shift; exec "$@"'
)


def unit_prefix(lab: str) -> str:
    """How the units of all containers of a lab begin; no lab's name has a hyphen."""
    return f"mailwright-lab-{lab}-"


@dataclass(frozen=True)
class Seed:
    """A file that a host has from the start, as a cloud's first boot would write it."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True)
class Container:
    """A container by its names and places. It holds no state: every question is asked of the kernel."""

    lab: str
    name: str
    image: Image
    bridge: str
    directory: Path
    """Its disk and its console's log."""

    @property
    def unit(self) -> str:
        """Name of its control group, and of its transient unit under systemd."""
        return unit_prefix(self.lab) + self.name

    @property
    def console(self) -> Path:
        """What it wrote to its console, and systemd-nspawn to its standard error."""
        return self.directory / "console.log"

    @property
    def _upper(self) -> Path:
        return self.directory / "upper"

    @property
    def _root(self) -> Path:
        return self.directory / "root"

    @property
    def _stamp(self) -> Path:
        return self.directory / "image"

    @property
    def _wanted(self) -> str:
        """What the stamp of a disk says that is made now: its image's layers, topmost first."""
        return " ".join(layer.name for layer in self.image.layers)

    def _lies_on_wanted(self, stamp: Path) -> bool:
        """The topmost layer's name decides: its digest is over those below as well."""
        return stamp.read_text().split()[:1] == [self.image.place.name]

    # --- its disk

    @property
    def made(self) -> bool:
        """Whether it has a disk, made from the image that is now wanted."""
        return self.has_disk and self._lies_on_wanted(self._stamp)

    @property
    def has_disk(self) -> bool:
        """Whether it has a disk at all."""
        return self._stamp.exists()

    def make(self, seeds: Iterable[Seed]) -> None:
        """Give it a fresh disk. The stamp is written last: a disk without one is made again."""
        self.discard()
        for directory in (self._upper, self.directory / "work", self._root):
            directory.mkdir(parents=True)
        unpack = ["chroot", str(self._root), "tar", "-C", "/", "--no-overwrite-dir", "-xpf", "-"]
        run(
            [*CONTAINED, *self._mounted(), *unpack],
            stdin=archive_of(seeds),
            what=f"writing the disk of {self.name}",
        )
        self._stamp.write_text(self._wanted)

    def discard(self) -> None:
        """Remove its disk, keeping its snapshots."""
        self._stamp.unlink(missing_ok=True)
        for directory in (self._upper, self.directory / "work", self._root, self.directory / "disks"):
            shutil.rmtree(directory, ignore_errors=True)

    def _mounted(self) -> list[str]:
        """Arguments that run a command with its root mounted, in a mount namespace of their own."""
        layers = overlay(self.image.layers, self._upper, self.directory / "work")
        own = disks.mounts(self.directory, self._root)
        return ["unshare", "--mount", "sh", "-ec", _MOUNTED, "sh", layers, str(self._root), *own, "--"]

    def make_disk(self, path: str, megabytes: int) -> None:
        """Put a directory of the stopped container, with what is in it, on a disk of its own."""
        disks.make_disk(self.directory, path, megabytes, self._root, self._mounted())

    def remove_disks(self) -> None:
        """Give the directories of the stopped container back what they held before they had disks."""
        shutil.rmtree(self.directory / "disks", ignore_errors=True)

    def snapshot(self, label: str) -> None:
        """Keep a copy of the disk of the stopped container, which has none of its own for a directory.

        Raises:
            LabError: it has one.
        """
        if disks.disks(self.directory):
            raise LabError(f"{self.name} has disks of its own, which a snapshot would leave out")
        place = self._snapshot(label)
        half = place.with_name(".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        # -a keeps the overlay's own marks, which are extended attributes and device nodes.
        run(["cp", "-a", "--reflink=auto", str(self._upper), str(self._stamp), str(half)])
        shutil.rmtree(place, ignore_errors=True)
        half.rename(place)

    def restore(self, label: str) -> None:
        """Put the disk of the stopped container back to a snapshot.

        Raises:
            LabError: there is no such snapshot, or it is of another image.
        """
        place = self._snapshot(label)
        if not place.exists():
            raise LabError(f"{self.name} has no snapshot named {label}")
        if not self._lies_on_wanted(place / "image"):
            raise LabError(f"the snapshot {label} of {self.name} is of an image that is no longer in use")
        self.discard()
        (self.directory / "work").mkdir()
        self._root.mkdir()
        run(["cp", "-a", "--reflink=auto", str(place / "upper"), str(self._upper)])
        self._stamp.write_text(self._wanted)

    def drop_snapshot(self, label: str) -> None:
        """Remove a snapshot, if there is one of that name."""
        shutil.rmtree(self._snapshot(label), ignore_errors=True)

    @property
    def snapshots(self) -> list[str]:
        """Labels of its snapshots, sorted."""
        place = self.directory / "snapshots"
        return sorted(p.name for p in place.glob("[!.]*")) if place.exists() else []

    def _snapshot(self, label: str) -> Path:
        if not label.replace("-", "").replace("_", "").isalnum():
            raise LabError(f"not a name for a snapshot: {label}")
        return self.directory / "snapshots" / label

    # --- its life

    @property
    def leader(self) -> int | None:
        """The container's PID 1, as a process of this machine."""
        for pid in processes.members(self.unit):
            # Only the first process of a PID namespace is 1 in it; a container in a container is deeper.
            if processes.inner_pids(pid)[1:] == [1]:
                return pid
        return None

    def start(self) -> None:
        """Boot it; returns at once. The remains of a container that died are swept first."""
        self.kill()
        processes.spawn(
            self.unit,
            [
                *self._mounted(),
                # Version 2 of control groups, as Debian has it, though the controller's may be a hybrid.
                *("env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"),
                *("systemd-nspawn", "--quiet", "--settings=no", "--boot", f"--directory={self._root}"),
                *(f"--machine={self.lab}-{self.name}", f"--network-bridge={self.bridge}"),
                # There may be no machined to register with, and the control group is ours already.
                *("--register=no", "--keep-unit", "--console=read-only", "--link-journal=no"),
                # The host's resolver, clock zone and journal are none of the container's business.
                *("--resolv-conf=off", "--timezone=off"),
            ],
            self.console,
        )

    def stop(self, grace: float = 20) -> None:
        """Shut it down as `systemctl poweroff` would; after `grace` seconds pull the plug."""
        if self.leader:
            processes.send([self.leader], _POWER_OFF)
        with suppress(LabError):  # of a host that does not want to: its plug is pulled
            wait_until(lambda: not processes.members(self.unit), f"{self.name} shuts down", timeout=grace)
        self.kill()

    def kill(self) -> None:
        """Pull the plug: nothing of it runs when this returns."""
        self._unplug()
        processes.kill_unit(self.unit)
        forget(self.lab, self.directory)
        disks.wait_until_free(self.directory)

    def _unplug(self) -> None:
        # The cable first: the kernel would close the connections of killed processes, and a peer would learn
        # in an instant what a power cut never tells. And it takes a dead network apart when it finds the
        # time, seconds later on a busy machine: until then its end of the cable would be in the way of the
        # next start. A long name is an alternative one.
        attempt(["ip", "link", "delete", "dev", f"vb-{self.lab}-{self.name}"])

    def lose_power(self) -> None:
        """Pull the plug of its disks as well: what was not written to them is lost."""
        self._unplug()  # or it tells its peers of the errors that its dead disks give it
        for disk in disks.disks(self.directory):
            disks.cut(disk, self.inside(str(disk.path)))
        self.kill()

    def execute(
        self, argv: Sequence[str], stdin: str | bytes | None = None, timeout: float = 120
    ) -> Completed:
        """Run a command inside, as root, past its network and its sshd: what a console is for.

        Raises:
            LabError: the container does not run, or the command does not end within `timeout` seconds.
        """
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        enter = ["nsenter", f"--target={self._running()}", *spaces, "--"]
        clean = ["env", "-i", _PATH, "HOME=/root", "LC_ALL=C.UTF-8"]
        return attempt([*enter, *clean, *argv], stdin=stdin, timeout=timeout)

    def in_network(self, argv: Sequence[str]) -> list[str]:
        """Arguments that run a controller's program in this host's network."""
        return ["nsenter", f"--target={self._running()}", "--net", "--", *argv]

    def inside(self, path: str) -> Path:
        """The controller's path to a file of the running container.

        Symbolic links in `path` that are absolute lead astray: they are the controller's to follow.
        """
        return Path(f"/proc/{self._running()}/root", *PurePosixPath(path).parts[1:])

    def _running(self) -> int:
        leader = self.leader
        if leader is None:
            raise LabError(f"{self.name} is not running: `mailwright lab up` starts it")
        return leader


def forget(lab: str, directory: Path) -> None:
    """Remove what systemd-nspawn leaves of a container in /run when it does not end by itself.

    It locks the disk's root by device and inode; an overlay's root has the inode of its upper directory.
    """
    if (directory / "upper").exists():
        for lock in (_NSPAWN / "locks").glob(f"inode-*:{(directory / 'upper').stat().st_ino}"):
            lock.unlink(missing_ok=True)
    for place in ("propagate", "unix-export"):
        with suppress(OSError):  # not there, or in use
            (_NSPAWN / place / f"{lab}-{directory.name}").rmdir()


def archive_of(seeds: Iterable[Seed]) -> bytes:
    """A tar archive; directories of the image keep their modes, new ones under /root are private."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for seed in seeds:
            parent = PurePosixPath(seed.path).parent
            if parent.name == ".ssh":
                directory = tarfile.TarInfo(str(parent)[1:])
                directory.type, directory.mode = tarfile.DIRTYPE, 0o700
                archive.addfile(directory)
            entry = tarfile.TarInfo(seed.path[1:])
            entry.size, entry.mode = len(seed.content), seed.mode
            entry.uname, entry.gname = seed.owner, seed.group
            archive.addfile(entry, io.BytesIO(seed.content))
    return buffer.getvalue()
