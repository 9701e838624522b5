"""What the controller itself must have before a lab can be."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from mailwright.lab.archive import KEYRING
from mailwright.lab.locks import exclusive
from mailwright.lab.paths import CACHE
from mailwright.lab.progress import Progress
from mailwright.lab.shell import run
from mailwright.model.errors import LabError

# What is looked for, and the package that brings it.
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "sysctl": "procps",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
    # What is run in the network of a host that does not have it, to cut a line or to ask.
    "nft": "nftables",
    "curl": "curl",
    "openssl": "openssl",
    str(KEYRING): "debian-archive-keyring",
}

# apt waits for dpkg's lock where it is told to, and never for this one: the machine's daily update may
# hold it just when somebody tries the lab.
_APT_LISTS = Path("/var/lib/apt/lists/lock")

# Each container's systemd takes some inotify instances, and each service a keyring; the defaults are
# used up by about sixteen containers ("Failed to allocate manager object").
_LIMITS = {
    "fs.inotify.max_user_instances": 8192,
    "fs.inotify.max_user_watches": 524288,
    "kernel.keys.maxkeys": 20000,
    "kernel.keys.maxbytes": 2000000,
}


def require_root() -> None:
    """Refuse to go on as anybody but root.

    Raises:
        LabError: saying what to type instead.
    """
    if os.geteuid() != 0:
        raise LabError("a lab is made of namespaces, mounts and a bridge: run this with sudo")
    # sudo and su may leave out where ip and sysctl are.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def prepare(progress: Progress) -> None:
    """Install what is missing and raise the kernel's limits; nothing that is there is changed.

    Two labs may come up at once: one of them installs, and the other waits for it.

    Raises:
        LabError: this is no Debian machine, or a package could not be installed.
    """
    if _missing():
        with exclusive(CACHE / ".lock-packages"):
            if missing := _missing():
                _install(missing, progress)
    for key, least in _LIMITS.items():
        place = Path("/proc/sys", *key.split("."))
        if int(place.read_text()) < least:
            place.write_text(str(least))


def _missing() -> list[str]:
    return sorted({package for program, package in _PROGRAMS.items() if not _there(program)})


def _there(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None


def _install(packages: list[str], progress: Progress) -> None:
    if not shutil.which("apt-get"):
        raise LabError(f"this is no Debian machine: install {', '.join(packages)} by other means")
    with progress.step(f"installed on this machine: {', '.join(packages)}"):
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
        _wait_for_apt()
        run([*quiet, "update"], what="apt-get update")
        run([*quiet, "install", "-y", "--no-install-recommends", *packages], what="apt-get install")


def _wait_for_apt() -> None:
    try:
        with _APT_LISTS.open("r+b") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
    except FileNotFoundError:
        pass  # apt makes it when it is first asked for lists
