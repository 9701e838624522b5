"""Packages of a test's own, and an archive of them on a host: updates are pending because a test says so."""

import hashlib
import re
import subprocess
from dataclasses import dataclass, field
from email.utils import formatdate

SOURCE = "/srv/updates"
_LIST = "/etc/apt/sources.list.d/updates.list"
_AWAY = "/etc/apt/sources.off"
_LISTS = "/var/lib/apt/lists"
_UNPLUG = (
    f"[ -d {_AWAY} ] && exit 0; mkdir -p {_AWAY} && "
    "for f in /etc/apt/sources.list /etc/apt/sources.list.d/*; do"
    f' [ ! -f "$f" ] || mv "$f" {_AWAY}/; done; mv {_LISTS} {_LISTS}.off; mkdir {_LISTS}'
)
_PLUG = (
    f"rm -rf {SOURCE} {_LIST}; cd {_AWAY} 2>/dev/null || exit 0; for f in *; do"
    ' case $f in sources.list) mv "$f" /etc/apt/ ;; *) mv "$f" /etc/apt/sources.list.d/ ;; esac; done;'
    f" rmdir {_AWAY}; rm -rf {_LISTS}; mv {_LISTS}.off {_LISTS}"
)

# Fields of dpkg's status file that no archive has, the last of them with lines of its own.
_OF_DPKG = re.compile(r"\n(?:Status|Config-Version): .*|\nConffiles:(?:\n .*)+")


@dataclass(frozen=True)
class Deb:
    """A package: its files, which of them are configuration, and what it runs once it is unpacked."""

    name: str
    version: str
    files: dict = field(default_factory=dict)
    conffiles: tuple = ()
    prerm: str = ""
    postinst: str = ""
    security: bool = False

    def build(self, folder):
        """Write it into a folder; returns the file."""
        root = folder / f"{self.name}_{self.version}"
        control = root / "DEBIAN"
        control.mkdir(parents=True)
        (control / "control").write_text(
            f"Package: {self.name}\nVersion: {self.version}\nArchitecture: all\n"
            "Maintainer: The lab <postmaster@mailbox.example>\nInstalled-Size: 12\n"
            "Description: an update of the lab's own\n"
        )
        if self.conffiles:
            (control / "conffiles").write_text("".join(f"{path}\n" for path in self.conffiles))
        for kind, text in (("prerm", self.prerm), ("postinst", self.postinst)):
            if text:
                (control / kind).write_text(f"#!/bin/sh\nset -e\n{text}\n")
                (control / kind).chmod(0o755)
        for path, text in self.files.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        deb = root.with_suffix(root.suffix + ".deb")
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", str(root), str(deb)],
            check=True,
            capture_output=True,
        )
        return deb


class Archive:
    """An archive on a host, which for the time being has no other: it names what is installed as well."""

    def __init__(self, host, release):
        self.host, self.release = host, release

    def publish(self, folder, *debs):
        """Have these packages and no others; the host learns of them when it fetches its lists."""
        self.host.run(_UNPLUG).require()
        self.host.run(["rm", "-rf", SOURCE]).require()
        lines = []
        for kind, label in (("plain", "Lab"), ("security", "Debian-Security")):
            place = f"{SOURCE}/{kind}"
            stanzas = [self._put(folder, place, deb) for deb in debs if deb.security == (kind == "security")]
            packages = "\n".join(stanzas if kind == "security" else stanzas + self._installed())
            codename = self.release + ("-security" if kind == "security" else "")
            self._write(f"{place}/Packages", packages)
            self._write(f"{place}/Release", _release(label, codename, packages.encode()))
            lines.append(f"deb [trusted=yes] file:{place} ./\n")
        self._write(_LIST, "".join(lines))

    def close(self, *names):
        """Give the host its own archives back, and take these packages away."""
        self.host.run(f"dpkg --purge --force-all {' '.join(names)}; {_PLUG}").require()

    def _put(self, folder, place, deb):
        built = deb.build(folder / self.host.name)
        content = built.read_bytes()
        self.host.run(["mkdir", "-p", place]).require()
        self.host.run(["tee", f"{place}/{built.name}"], stdin=content).require()
        said = self.host.run(f"cd {place} && dpkg-deb -f {built.name}; sha256sum {built.name}").require()
        *control, digest = said.stdout.splitlines()
        more = (f"Filename: ./{built.name}", f"Size: {len(content)}", f"SHA256: {digest.split()[0]}", "")
        return "\n".join((*control, *more))

    def _installed(self):
        """What came from the archives that are away, by name alone; else it would seem to come from none."""
        status = self.host.read("/var/lib/dpkg/status").decode()
        return [
            f"{_OF_DPKG.sub('', stanza)}\nFilename: ./elsewhere\nSize: 1\n"
            for stanza in status.strip().split("\n\n")
            if "\nStatus: install ok installed\n" in stanza and not stanza.startswith("Package: mw-")
        ]

    def _write(self, path, text):
        self.host.run(f"mkdir -p $(dirname {path}) && cat >{path}", stdin=text).require()


def _release(label, codename, packages):
    """The description of an archive. Without the digest of its list apt would go by the list's age."""
    return (
        f"Origin: Debian\nLabel: {label}\nSuite: {codename}\nCodename: {codename}\n"
        f"Date: {formatdate(usegmt=True)}\n"
        f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )


def versions(host, *names):
    """The versions of packages on a host, those that are whole."""
    query = "${db:Status-Abbrev}${Package}=${Version}\\n"
    said = host.run(["dpkg-query", "-W", "-f", query, *names]).stdout
    return {
        line[3:].partition("=")[0].strip(): line.partition("=")[2]
        for line in said.splitlines()
        if line.startswith("ii")
    }
