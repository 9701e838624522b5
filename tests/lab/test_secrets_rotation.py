"""Secrets are exchanged on a live fleet, and the exchange is killed half-way and gone on with by `apply`."""

import os
import random

import pytest

from mailwright.command.inventory import open_site
from mailwright.model.backups import KEEPER_PASSWORD
from mailwright.model.load import fleet_file
from mailwright.model.secrets_store import locate, required
from tests.lab.deploying import ROOT, command, limits, mailwright
from tests.lab.killing import SEED, kill_somewhere

MINUTES = 1

KILLS = int(os.environ.get("MAILWRIGHT_KILLS", "1"))


class Backups:
    """The backups of one machine, seen from it, from their keeper, and from the secrets."""

    def __init__(self, lab):
        self.lab, self.inventory = lab, lab.plan.file
        fleet = open_site(self.inventory).fleet
        self.machine = min(fleet.with_role("backup"), key=lambda machine: len(machine.roles)).name
        self.keeper = fleet.backup.kept_by

    @property
    def names(self):
        """Its secrets, as far as they can be drawn."""
        site = open_site(self.inventory)
        mine = f"backup/{self.machine}/"
        return [
            one.name for one in required(site.fleet, site.roles) if one.name.startswith(mine) and one.make
        ]

    @property
    def passwords(self):
        """The values of both keys of its repository."""
        secrets = locate(open_site(self.inventory).fleet, fleet_file(self.inventory)).read().secrets
        return {name: secrets[name] for name in (f"backup/{self.machine}/password", KEEPER_PASSWORD)}

    def run(self):
        done = self.lab.host(self.machine).run("mailwright-backup run", timeout=120)
        assert done.ok, done.stderr

    def opened_by(self, password):
        """Whether a password opens the repository, tried where it lies."""
        tried = f"restic --no-lock --repo /srv/backups/{self.machine} --password-file /dev/stdin cat config"
        done = self.lab.host(self.keeper).run(tried, stdin=password, timeout=60)
        assert done.ok or "wrong password" in done.stderr, done.stderr
        return done.ok


@pytest.fixture(scope="module")
def backups(deployed):
    found = Backups(deployed)
    found.run()
    return found


@pytest.mark.proof("keys of backups are exchanged on a live fleet, also when that is killed half-way")
@pytest.mark.rounds
@pytest.mark.parametrize("round_", range(KILLS))
def test_an_exchange_that_is_killed_is_finished_by_apply(backups, round_, evidence):
    before = backups.passwords
    choose = random.Random(SEED + round_)  # noqa: S311 - to be repeated, not to be secret
    rotate = ("secrets", "rotate", backups.inventory, "--apply", "--yes", *backups.names, KEEPER_PASSWORD)
    point = kill_somewhere(command("mailwright", *rotate), choose, among=range(1, 12), cwd=ROOT)
    print(f"MAILWRIGHT_SEED={SEED}: killed {point}")  # noqa: T201 - to repeat it
    done = mailwright(
        "apply", "--yes", "--no-dns", backups.inventory, *limits([backups.keeper, backups.machine])
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    backups.run()
    after = backups.passwords
    assert before[f"backup/{backups.machine}/password"] != after[f"backup/{backups.machine}/password"]
    for password in after.values():
        assert backups.opened_by(password)
    for password in set(before.values()) - set(after.values()):
        assert not backups.opened_by(password), "who has the old one is shut out"
    evidence(f"killed {point}")
