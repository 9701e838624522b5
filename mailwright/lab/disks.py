"""Disks of a host's own, each for one directory: they lose what was not written, as at a power cut.

What a container writes elsewhere lies in this machine's page cache, which outlives every container: killing
one proves nothing about fsync(2). A disk is an ext4 image on a loop device, mounted over the host's directory
in the mount namespace of the host alone: the kernel unmounts it and frees the device, whatever ends it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from mailwright.lab.shell import CONTAINED, run, wait_until
from mailwright.model.errors import LabError

# include/uapi/linux/fs.h, fs/ext4/ext4.h: _IOR('X', 125, __u32). With NOLOGFLUSH not even the journal is
# written any more: what was not on disk at this moment never will be.
_EXT4_IOC_SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
_NOLOGFLUSH = 2

_COPY = 'mkdir -p "$2.mnt"; mount -o loop "$2" "$2.mnt"; cp -a "$1/." "$2.mnt/"'


@dataclass(frozen=True)
class Disk:
    """A disk: its image on this machine, and the directory of the host that lies on it."""

    image: Path
    path: PurePosixPath

    @property
    def in_use(self) -> bool:
        """Whether a loop device has it; one that is being unmounted counts."""
        return bool(run(["losetup", "--associated", str(self.image)]).strip())


def disks(directory: Path) -> list[Disk]:
    """The disks of a host with this directory, in the order in which they must be mounted."""
    found = [
        Disk(image, PurePosixPath(unquote(image.stem))) for image in (directory / "disks").glob("*.ext4")
    ]
    return sorted(found, key=lambda disk: disk.path)


def mounts(directory: Path, root: Path) -> list[str]:
    """Image and mount point of each disk, one word each."""
    return [word for disk in disks(directory) for word in (str(disk.image), str(_below(root, disk.path)))]


def make_disk(directory: Path, path: str, megabytes: int, root: Path, mounted: Iterable[str]) -> None:
    """Make a disk with what is now in `path`, for a stopped host.

    `mounted` are arguments that run a command with the host's root mounted at `root`.

    Raises:
        LabError: there is no such directory in the host, or it has its disk already.
    """
    place = PurePosixPath(path)
    if place in [disk.path for disk in disks(directory)]:
        raise LabError(f"{directory.name}: {path} has a disk of its own already")
    final = directory / "disks" / f"{quote(str(place), safe='')}.ext4"
    half = final.with_suffix(".half")
    final.parent.mkdir(exist_ok=True)
    run(["truncate", f"--size={megabytes}M", str(half)])
    run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard", str(half)], what=f"making a disk for {path}")
    copy = ["sh", "-ec", _COPY, "sh", str(_below(root, place)), str(half)]
    run([*CONTAINED, *mounted, *copy], what=f"{directory.name}: a disk for {path}")
    half.with_name(f"{half.name}.mnt").rmdir()
    half.rename(final)


def cut(disk: Disk, mounted: Path) -> None:
    """Cut the power of a mounted disk: what was not written is lost, and every access fails from here on."""
    directory = os.open(mounted, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(directory, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
    except OSError as error:
        raise LabError(f"{disk.image}: not to be cut off: {error}") from error
    finally:
        os.close(directory)


def wait_until_free(directory: Path) -> None:
    """Wait until the kernel has unmounted the disks of a host that ended.

    A disk that is mounted again before that is still the one that was cut.
    """
    wait_until(
        lambda: not any(disk.in_use for disk in disks(directory)),
        f"{directory.name}: its disks are unmounted",
    )


def _below(root: Path, path: PurePosixPath) -> Path:
    return root.joinpath(*path.parts[1:])
