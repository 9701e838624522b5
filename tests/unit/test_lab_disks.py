"""Disks of a lab's host: which image is whose."""

from pathlib import Path, PurePosixPath

import pytest

from mailwright.lab import disks
from mailwright.model.errors import LabError


@pytest.fixture
def directory(tmp_path):
    place = tmp_path / "out1"
    (place / "disks").mkdir(parents=True)
    for name in ("%2Fvar%2Fspool%2Fpostfix.ext4", "%2Fvar%2Fspool.ext4", "%2Fsrv.half"):
        (place / "disks" / name).touch()
    return place


def test_a_disk_is_named_after_its_directory_and_mounted_after_those_above_it(directory):
    outer, inner = disks.disks(directory)
    assert (outer.path, inner.path) == (PurePosixPath("/var/spool"), PurePosixPath("/var/spool/postfix"))
    assert disks.mounts(directory, Path("/root")) == [
        *(str(outer.image), "/root/var/spool"),
        *(str(inner.image), "/root/var/spool/postfix"),
    ]


def test_a_host_without_disks_has_none(tmp_path):
    assert disks.disks(tmp_path) == []


def test_a_directory_has_one_disk(directory):
    with pytest.raises(LabError, match="out1: /var/spool has a disk of its own already"):
        disks.make_disk(directory, "/var/spool", 1, Path("/root"), [])
