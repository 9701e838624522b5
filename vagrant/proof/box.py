"""A box for vagrant-lxc out of the image that lab hosts start from: what a box adds to a bare Debian."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

from mailwright.lab import images
from mailwright.lab.archive import RELEASES, Archive
from mailwright.lab.shell import run
from mailwright.model.errors import LabError

# The key that every box has before Vagrant puts another in its place at the first `up`.
# https://developer.hashicorp.com/vagrant/docs/boxes/base
_KEYS = "/usr/share/rubygems-integration/all/gems/vagrant-*/keys/vagrant.pub"

_CONFIG = """\
lxc.include = /usr/share/lxc/config/common.conf
lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
lxc.apparmor.profile = unconfined
lxc.net.0.type = veth
lxc.net.0.link = {bridge}
lxc.net.0.flags = up
"""

_FILES = {
    # Empty, not missing: each machine draws its own, but is not treated as at a first boot (machine-id(5)),
    # when systemd would enable all that it has.
    "etc/machine-id": "",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 box\n::1 localhost\n",
    "etc/hostname": "box\n",
    "etc/sudoers.d/vagrant": "vagrant ALL=(ALL) NOPASSWD: ALL\n",
    "etc/apt/apt.conf.d/20proxy": 'Acquire::http::Proxy "{proxy}";\n',
    "etc/systemd/network/50-dhcp.network": "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n",
    # Each machine has host keys of its own.
    "etc/systemd/system/ssh.service.d/keys.conf": "[Service]\nExecStartPre=\nExecStartPre=ssh-keygen -A\n"
    "ExecStartPre=/usr/sbin/sshd -t\n",
}


def build(release: int, archive: Archive, folder: Path, *, bridge: str, proxy: str) -> Path:
    """Build the box of a Debian release (12, 13) in `folder` and return its file.

    Its machines take an address by DHCP on `bridge`, and packages through `proxy`. A box of this provider is
    an archive of metadata.json, lxc-config and rootfs.tar.gz, with all below `./rootfs/` in the latter.

    Raises:
        LabError: the image cannot be built, or a program fails.
    """
    image = images.base_image(RELEASES[release], archive)
    images.build(image)
    box = folder / f"debian-{release}"
    root = box / "rootfs"
    box.mkdir()
    run(["cp", "-a", "--reflink=auto", str(image.place), str(root)])
    _furnish(root, proxy)
    _pack(box)
    shutil.rmtree(root)
    (box / "metadata.json").write_text(json.dumps({"provider": "lxc", "version": "1.0.0"}))
    (box / "lxc-config").write_text(_CONFIG.format(bridge=bridge))
    file = folder / f"debian-{release}.box"
    run(["tar", "-C", str(box), "-cf", str(file), "metadata.json", "lxc-config", "rootfs.tar.gz"])
    shutil.rmtree(box)
    return file


def _pack(box: Path) -> None:
    """Write rootfs.tar.gz, which vagrant-lxc wants in gzip's format; stored, as it lives for a minute."""
    program = ["tar", "--numeric-owner", "--xattrs", "-C", str(box), "-cf", "-", "./rootfs"]
    with (
        subprocess.Popen(program, stdout=subprocess.PIPE) as tar,
        gzip.open(box / "rootfs.tar.gz", "wb", compresslevel=0) as packed,
    ):
        shutil.copyfileobj(tar.stdout, packed, 1 << 20)  # type: ignore[arg-type] # a pipe was asked for
    if tar.returncode != 0:
        raise LabError(f"packing {box.name}: tar ended with status {tar.returncode}")


def _furnish(root: Path, proxy: str) -> None:
    run(["useradd", "--root", str(root), "--create-home", "--shell", "/bin/bash", "vagrant"])
    keys = root / "home/vagrant/.ssh"
    keys.mkdir(mode=0o700)
    key = next(Path("/").glob(_KEYS.lstrip("/")))
    shutil.copyfile(key, keys / "authorized_keys")
    run(["chroot", str(root), "chown", "-R", "vagrant:", "/home/vagrant/.ssh"])
    for name, text in _FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{proxy}", proxy))
    (root / "etc/sudoers.d/vagrant").chmod(0o440)
    # As some cloud images have it; the deploy has sshd listen itself (docs/decisions/sshd-listens.md).
    run(["systemctl", f"--root={root}", "disable", "--quiet", "ssh.service"])
    run(["systemctl", f"--root={root}", "enable", "--quiet", "ssh.socket"])
