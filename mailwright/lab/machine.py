"""What the controller itself must have before a lab can be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mailwright.lab.archive import KEYRING
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
    str(KEYRING): "debian-archive-keyring",
}

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

    Raises:
        LabError: this is no Debian machine, or a package could not be installed.
    """
    missing = {package for program, package in _PROGRAMS.items() if not _there(program)}
    if missing:
        _install(sorted(missing), progress)
    for key, least in _LIMITS.items():
        place = Path("/proc/sys", *key.split("."))
        if int(place.read_text()) < least:
            place.write_text(str(least))


def _there(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None


def _install(packages: list[str], progress: Progress) -> None:
    if not shutil.which("apt-get"):
        raise LabError(f"this is no Debian machine: install {', '.join(packages)} by other means")
    with progress.step(f"installed on this machine: {', '.join(packages)}"):
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
        run([*quiet, "update"], what="apt-get update")
        run([*quiet, "install", "-y", "--no-install-recommends", *packages], what="apt-get install")
