"""The spare of a lab: its disk is put aside once, and comes back whatever happened in between."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mailwright.backup.snapshots import BackupError
from mailwright.backup.spares import LabSpare
from mailwright.model.errors import LabError


class Host:
    """A host of a lab that notes what is done to its disk."""

    name = "spare1"

    def __init__(self):
        self.running, self.disk, self.old_image = True, "its own", False
        self.kept = {}

    @property
    def container(self):
        return SimpleNamespace(snapshots=sorted(self.kept))

    def snapshot(self, label):
        self.kept[label] = self.disk

    def reset(self):
        self.disk = "bare"

    def restore(self, label):
        if self.old_image:
            raise LabError("the snapshot is of an image that is no longer in use")
        self.disk = self.kept[label]

    def drop_snapshot(self, label):
        del self.kept[label]


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def spare(host):
    return LabSpare(SimpleNamespace(host=lambda _: host), SimpleNamespace(name="spare1"))


def test_its_disk_is_put_aside_and_comes_back(host, spare):
    spare.empty()
    assert host.disk == "bare"
    host.disk = "the other machine"
    spare.give_back()
    assert (host.disk, host.kept) == ("its own", {})


def test_what_a_killed_drill_left_is_not_taken_for_its_own(host, spare):
    spare.empty()
    host.disk = "the other machine"
    spare.empty()
    assert host.disk == "bare"
    spare.give_back()
    assert host.disk == "its own"


def test_a_disk_that_cannot_come_back_leaves_a_bare_machine(host, spare):
    spare.empty()
    host.old_image = True
    host.disk = "the other machine"
    assert "could not be brought back" in spare.give_back()
    assert (host.disk, host.kept) == ("bare", {})


def test_a_spare_that_does_not_run_is_left_alone(host, spare):
    host.running = False
    with pytest.raises(BackupError, match="spare1 does not run"):
        spare.empty()
    assert spare.give_back() == "nothing was done to it"
    assert host.disk == "its own"
