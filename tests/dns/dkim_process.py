"""`mailwright dkim` as a process: with a clock from a file, hosts that are files, and a time to die.

    python -m tests.dns.dkim_process FOLDER KILL_AT ARGUMENTS...

FOLDER holds `fleet.yaml`, `now` (seconds since the epoch; waiting moves it on) and perhaps `away`: hosts
that cannot be reached. `hosts.json` becomes what each host signs with. The process kills itself with SIGKILL
at the beginning or end of its KILL_AT'th effect (0: never), and says at its end how many it counted.
"""

import json
import os
import signal
import sys
from pathlib import Path

from mailwright.command import dkim as command
from mailwright.command import dkim_report
from mailwright.command.dkim_hosts import Found
from mailwright.command.main import run
from mailwright.dkim.world import RealEffects
from mailwright.model.load import load_site
from mailwright.model.role import Role, Settings

EFFECTS = ("save", "make_private", "forget_private", "publish", "deploy")


class PostfixSettings(Settings):
    queue_lifetime: str = "3d"


ROLES = (
    Role("opendkim", Settings, apply=lambda _: None),
    Role("postfix", PostfixSettings, apply=lambda _: None),
)


class FileHosts:
    """Hosts that sign with what `hosts.json` says."""

    def __init__(self, folder):
        self.folder = folder

    def deploy(self, site):
        now = self._read()
        wanted = [f"{k.selector}.{d.name.bare}" for d in site.fleet.domains for k in d.dkim]
        problems = {
            m.name: "away" if m.name in self._away() else "" for m in site.fleet.with_role("opendkim")
        }
        now |= {name: wanted for name, problem in problems.items() if not problem}
        (self.folder / "hosts.json").write_text(json.dumps(now))
        return problems

    def ask(self, site):
        wanted = [f"{k.selector}.{d.name.bare}" for d in site.fleet.domains for k in d.dkim]
        return {m.name: self._judged(m.name, wanted) for m in site.fleet.with_role("opendkim")}

    def signing(self, site):
        return self.stopped(site)

    def stopped(self, site):
        return {host: found.line() for host, found in self.ask(site).items()}

    def _judged(self, name, wanted):
        if name in self._away():
            return Found(silence="away")
        return Found() if self._read().get(name) == wanted else Found((("keys", "signs with other keys"),))

    def _read(self):
        file = self.folder / "hosts.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def _away(self):
        file = self.folder / "away"
        return file.read_text().split() if file.exists() else []


class Doom:
    """Counts the beginnings and ends of effects, and kills at one."""

    def __init__(self, kill_at):
        self.kill_at, self.counted = kill_at, 0

    def tick(self):
        self.counted += 1
        if self.counted == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, effect):
        def doomed(*arguments):
            self.tick()
            result = effect(*arguments)
            self.tick()
            return result

        return doomed


def main(folder, kill_at, arguments):
    doom, now, hosts = Doom(kill_at), folder / "now", FileHosts(folder)
    command.clock = lambda: float(now.read_text())
    command.pause = lambda seconds: now.write_text(str(float(now.read_text()) + seconds))
    command.open_site = lambda path: load_site(path, ROLES)
    command.Hosts = lambda *_: hosts
    dkim_report.ask = hosts.ask
    for name in EFFECTS:
        setattr(RealEffects, name, doom.around(getattr(RealEffects, name)))
    status = run(["dkim", arguments[0], str(folder / "fleet.yaml"), *arguments[1:]])
    print(f"effects: {doom.counted}", file=sys.stderr)  # noqa: T201 - for the test
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
