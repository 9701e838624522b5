"""Images: the disks that hosts start from, built once a recipe and kept.

An image is a directory tree. A base image comes from mmdebstrap; a layer is what installing more packages
changed on top of its parent, as an overlay upper directory. Its place is named by a digest of everything
that decides its content, so that a changed recipe is another image, and it gets that name only when it is
whole: a build that was killed is thrown away by the next.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mailwright.lab.archive import KEYRING, Archive
from mailwright.lab.locks import exclusive
from mailwright.lab.packages import serving
from mailwright.lab.paths import IMAGES, PACKAGES
from mailwright.lab.shell import CONTAINED, run

# What a Debian cloud image has beyond the essential packages, as far as a mail host could notice.
BASE_PACKAGES = (
    *("systemd", "systemd-sysv", "libpam-systemd", "dbus", "kmod", "procps", "sudo", "less"),
    *("openssh-server", "iproute2", "iputils-ping", "nftables", "netbase", "ca-certificates"),
    *("adduser", "cron", "logrotate", "tzdata", "debian-archive-keyring"),
)

# One line each, run in the new tree by /bin/sh.
_BASE_STEPS = (
    "systemctl enable systemd-networkd.service ssh.service",
    "systemctl disable systemd-networkd-wait-online.service",  # a host is ready when sshd answers
    "rm -f /etc/ssh/ssh_host_*",  # each host has its own
    "rm -f /etc/resolv.conf /etc/hostname",  # mmdebstrap brings the controller's
    "rm -f /etc/machine-id /var/lib/dbus/machine-id",
    # What apt makes of its lists takes a host seconds: it is done once, while the lists are of today.
    "apt-get clean",
    "apt-cache gencaches",
    # Run at each daemon-reload, to look for disks, partitions and terminals that no container has.
    "mkdir -p /etc/systemd/system-generators",
    "cd /etc/systemd/system-generators && ls /usr/lib/systemd/system-generators | xargs -n 1 ln -s /dev/null",
    "rm -f /etc/systemd/system-generators/systemd-sysv-generator",
)

# Lab disks are thrown away: dpkg need not wait for them. Nor does apt need descriptions in other tongues.
_DPKG = "force-unsafe-io\n"
_APT = 'Acquire::Languages "none";\nAPT::Install-Recommends "true";\n'
# Without Recommends, as the cron of a cloud image has no mail server either.
_BOOTSTRAP = ('--aptopt=Acquire::Languages "none"', "--skip=cleanup/apt/lists", "--skip=cleanup/apt/cache")

# Services of a layer must not start while it is built (invoke-rc.d(8)).
_POLICY = "#!/bin/sh\nexit 101\n"

_INSTALL = """
mount -t overlay overlay -o "$1" "$2"
mount -t proc proc "$2/proc"
shift
exec chroot "$@"
"""


@dataclass(frozen=True)
class Image:
    """A recipe. `release` is Debian's code name; with a `parent` it is a layer on top of that."""

    name: str
    release: str
    archive: Archive
    packages: tuple[str, ...]
    parent: Image | None = None

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits over all that decides the content."""
        recipe = (
            *(self.release, *self.archive.lines(self.release), *self.packages, _DPKG, _APT),
            *((*_BOOTSTRAP, *_BASE_STEPS) if self.parent is None else (_INSTALL, self.parent.digest)),
        )
        return hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:16]

    @property
    def place(self) -> Path:
        """Where the finished image lies."""
        return IMAGES / f"{self.name}-{self.digest}"

    @property
    def layers(self) -> tuple[Path, ...]:
        """Overlay lower directories, topmost first."""
        return (self.place, *(self.parent.layers if self.parent else ()))

    @property
    def exists(self) -> bool:
        """Whether it is built."""
        return self.place.exists()


def base_image(release: str, archive: Archive) -> Image:
    """The bare Debian that fleet hosts start from."""
    return Image(release, release, archive, BASE_PACKAGES)


def build(image: Image, on_wait: Callable[[], None] = lambda: None) -> None:
    """Build an image unless it is there; its parent must be.

    Raises:
        LabError: a package could not be had; the message is apt's last word.
    """
    if image.exists:
        return
    with exclusive(IMAGES / f".lock-{image.name}", on_wait):
        if image.exists:
            return
        half = IMAGES / f".half-{image.name}"
        shutil.rmtree(half, ignore_errors=True)
        (half / "root").mkdir(parents=True)
        with serving(PACKAGES, image.archive.addresses) as proxy:
            (_bootstrap if image.parent is None else _install)(image, half, proxy)
        (half / "root").rename(image.place)
        shutil.rmtree(half)


def _bootstrap(image: Image, half: Path, proxy: str) -> None:
    aptconf = f'Acquire::http::Proxy "{proxy}";'
    steps = [f"--customize-hook=chroot \"$1\" sh -ec '{step}'" for step in _BASE_STEPS]
    run(
        [
            *(*CONTAINED, "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase"),
            *(f"--keyring={KEYRING}", f"--aptopt={aptconf}", f"--include={','.join(image.packages)}"),
            *_BOOTSTRAP,
            *(*steps, image.release, str(half / "root"), *image.archive.lines(image.release)),
        ],
        what=f"building the {image.name} image",
    )
    root = half / "root"
    (root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    (root / "etc/apt/apt.conf.d/20lab").write_text(_APT)
    (root / "etc/dpkg/dpkg.cfg.d/lab").write_text(_DPKG)


def _install(image: Image, half: Path, proxy: str) -> None:
    root, work, merged = half / "root", half / "work", half / "merged"
    for directory in (work, merged):
        directory.mkdir()
    policy, hostname = root / "usr/sbin/policy-rc.d", root / "etc/hostname"
    policy.parent.mkdir(parents=True)
    hostname.parent.mkdir()
    hostname.write_text(f"{image.name}.example\n")  # Postfix installs only where there is a full name
    policy.write_text(_POLICY)
    policy.chmod(0o755)
    apt = f"apt-get -q -o Acquire::http::Proxy={proxy}"
    script = (
        f"{apt} update && {apt} install -y --no-install-recommends {' '.join(image.packages)}"
        " && apt-get clean && rm /usr/sbin/policy-rc.d"
    )
    mounted = (overlay(image.layers[1:], root, work), str(merged))
    environment = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive")
    run(
        [*CONTAINED, "sh", "-ec", _INSTALL, "sh", *mounted, *environment, "sh", "-c", script],
        what=f"building the {image.name} image",
    )


def overlay(lower: tuple[Path, ...], upper: Path, work: Path) -> str:
    """Mount options of an overlay (Documentation/filesystems/overlayfs.rst of the kernel)."""
    return f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"


def prune(keep: Collection[str]) -> list[str]:
    """Remove images whose names are not in `keep`, and what killed builds left; returns their names.

    A build that is under way is waited for.
    """
    gone = [p for p in IMAGES.glob("*") if p.name not in keep and not p.name.startswith(".lock-")]
    for place in gone:
        half = place.name.startswith(".half-")
        recipe = place.name.removeprefix(".half-") if half else place.name.rpartition("-")[0]
        with exclusive(IMAGES / f".lock-{recipe}"):
            shutil.rmtree(place, ignore_errors=half)
    return sorted(place.name for place in gone if not place.name.startswith("."))
