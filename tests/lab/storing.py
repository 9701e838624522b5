"""Backups of lab hosts from both ends: as a machine reaches its repository, and as the keeper does."""

import json

from mailwright.model.crossbackups import MAKES
from mailwright.repositories import REPOSITORIES, for_machine

KEEPER = "mailwright-backup-keeper"


class Stored:
    """One machine with the role backup, and its repository at the store."""

    def __init__(self, lab, site, host, store):
        self.lab, self.site, self.host, self.store = lab, site, host, store
        self.name = host.name
        self.reached = for_machine(site.fleet, host.name, site.secrets)

    @property
    def credentials(self):
        """Name and password towards a rest-server."""
        return f"{self.name}:{self.site.secrets.get(f'backup/{self.name}/rest').strip()}"

    def restic(self, *arguments, seconds=100):
        """Run restic as the machine's root with the machine's credentials."""
        variables = [f"{name}={value}" for name, value in self.reached.environment.items()]
        words = [
            "env",
            "HOME=/root",
            *variables,
            "timeout",
            str(seconds),
            "restic",
            *self.reached.options,
            *arguments,
        ]
        return self.host.run(words)

    def back_up(self, text, path="/root/kept"):
        """Store a folder with one file; returns the snapshot's id."""
        self.host.run(f"mkdir -p {path} && cat >{path}/file", stdin=text).require()
        said = self.restic("backup", "--json", "--tag", "long", "--host", self.name, path).require().stdout
        short = next(json.loads(line)["snapshot_id"] for line in said.splitlines() if "snapshot_id" in line)
        (whole,) = [one for one in self.snapshots() if one.startswith(short)]  # restic 0.14 says eight digits
        return whole

    def keeper(self, command, *arguments, timeout=300):
        """Run one command of the keeper for this machine."""
        return self.store.run(
            ["env", "MAILWRIGHT_PATIENCE=5", KEEPER, command, self.name, *arguments], timeout=timeout
        )

    def snapshots(self):
        """The ids that the keeper sees."""
        return {one["id"] for one in json.loads(self.keeper("snapshots").require().stdout)}

    def status(self):
        """What the keeper says of this machine, with the sentences about what is wrong."""
        found = json.loads(self.keeper("status").require().stdout)
        return found["machines"][self.name] | {"faults": found["faults"]}

    def restored(self, snapshot, path="/root/kept"):
        """The file of a snapshot, as the keeper's read-only view brings it back."""
        folder = f"/root/view-{snapshot[:8]}"
        self.store.run(["rm", "-rf", folder]).require()
        self.keeper("view", folder, "--snapshot", snapshot).require()
        text = self.store.run(["cat", f"{folder}{path}/file"]).require().stdout
        self.store.run(["rm", "-rf", folder]).require()
        return text

    def forget(self):
        """Take what tests stored away again: all that holds their folder."""
        said = self.keeper("restic", "snapshots", "--json", "--path", "/root/kept").require().stdout
        if ids := [one["id"] for one in json.loads(said) or []]:
            self.keeper("restic", "forget", "--prune", *ids).require()
        self.keeper("check").require()


def makers(lab, site, store):
    """The machines with the role backup, those with the fewest roles first."""
    found = sorted((m for m in site.fleet.machines if MAKES in m.roles), key=lambda m: len(m.roles))
    return [Stored(lab, site, lab.host(machine.name), store) for machine in found]


def contents(store):
    """Every file of every repository but locks, with its digest: what nobody but the keeper may change.

    A file that is on its way has another name than one that is there: other machines back up meanwhile.
    """
    whole = r"-regextype posix-extended -regex '.*/([0-9a-f]{64}|config)'"
    find = f"find {REPOSITORIES} {whole} -type f ! -path '*/locks/*' -print0 | xargs -0r sha256sum"
    lines = store.run(find, timeout=300).require().stdout.splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def connects(host, address, port):
    """Whether a TCP connection from a host is accepted."""
    return host.in_network(["timeout", "3", "bash", "-c", f"</dev/tcp/{address}/{port}"]).ok
