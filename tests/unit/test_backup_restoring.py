"""After a restore, what reads the restored files takes them: as a deploy would, and nothing else."""

from types import SimpleNamespace

import pytest

from mailwright.backup import restoring
from mailwright.backup.programs import Staged
from mailwright.backup.restoring import Restore
from mailwright.backup.snapshots import BackupError
from mailwright.converge.units import Plan, Step
from mailwright.model.needs import Needs, Unit
from mailwright.model.role import Result

READS = Unit("opendkim.service", reads=("/etc/opendkim",))
OTHERS = (
    Unit("nftables.service", reads=("/etc/nftables.conf",)),
    Unit("off.timer", reads=("/etc/opendkim",), running=False),
)


class Host:
    """A machine on which every unit that is asked about is older than what it reads."""

    def __init__(self, monkeypatch, status=0):
        self.asked, self.status, self.ran = [], status, []
        self.placed = []
        monkeypatch.setattr(restoring, "evidence", lambda *_: SimpleNamespace(observation=None))
        monkeypatch.setattr(restoring.units, "decide", self.decide)
        plan = SimpleNamespace(merged=Needs(units=(READS, *OTHERS)), machine=SimpleNamespace(name="out1"))
        client = SimpleNamespace(run=self.run, place=lambda *words: self.placed.append(words))
        self.restore = Restore(plan, client)

    def decide(self, readers, _needs, _seen):
        self.asked = [unit.name for unit in readers]
        return Plan(tuple(Step(unit, ("restart",)) for unit in readers), reread=False)

    def run(self, command):
        self.ran.append(command)
        return Result(self.status, "", "opendkim.service is failed\n" if self.status else "")

    def put(self, path):
        return self.restore.put(Staged("/stage", (), (path,)))


@pytest.mark.parametrize("path", ["/etc/opendkim/keys", "/etc/opendkim", "/etc"])
def test_what_reads_a_restored_path_takes_it(monkeypatch, path):
    host = Host(monkeypatch)
    lines = host.put(path)
    assert host.placed == [("/stage", ())]
    assert "opendkim.service" in host.asked
    assert "off.timer" not in host.asked
    assert "opendkim.service: restart" in lines
    assert "restart opendkim.service" in host.ran[-1]


def test_what_reads_nothing_of_it_is_left_alone(monkeypatch):
    host = Host(monkeypatch)
    assert host.put("/srv/mail") == ()
    assert (host.asked, host.ran) == ([], [])


def test_a_unit_that_does_not_run_on_it_is_told(monkeypatch):
    with pytest.raises(
        BackupError, match="out1: its files are in place, but a unit does not run on them: opendkim"
    ):
        Host(monkeypatch, status=1).put("/etc/opendkim/keys")
