"""What counts as a machine's snapshots being there, fresh and whole."""

from datetime import UTC, datetime, timedelta

import pytest

from mailwright.backup.snapshots import BackupError, Snapshot, amount, span, standing
from mailwright.model.needs import BackupPath

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEYS = BackupPath("/etc/opendkim/keys", "keys")
QUEUE = BackupPath("/var/spool/postfix", "queue", "short", dump="cp", at="/var/lib/dump/queue")


def snapshot(minutes=10, retention="long", paths=("/etc/opendkim",)):
    return Snapshot(NOW - timedelta(minutes=minutes), f"id{minutes}", retention, paths)


def stand(*snapshots, retention="long", paths=(KEYS,)):
    return standing("out1", retention, snapshots, paths, fresh=3600, now=NOW)


def test_a_fresh_snapshot_with_a_folder_above_every_path_is_well():
    found = stand(snapshot(50), snapshot(10))
    assert found.faults == ()
    assert found.newest == snapshot(10)
    assert found.age == 600


def test_a_class_without_a_snapshot_is_a_fault_whatever_others_have():
    assert stand(snapshot(retention="short")).faults == ("there is no snapshot",)


def test_an_old_snapshot_is_a_fault_with_its_age():
    assert stand(snapshot(185)).faults == ("the newest is 3 h old, and may be 1 h",)


def test_a_path_that_the_newest_snapshot_lacks_is_a_fault_even_if_an_older_one_has_it():
    found = stand(snapshot(50), snapshot(10, paths=("/etc/opendkim/keys.old", "/etc/postfix")))
    assert found.faults == ("/etc/opendkim/keys is not in it",)


def test_what_is_dumped_is_looked_for_where_its_dump_lies():
    dumped = snapshot(10, "short", ("/var/lib/dump/queue",))
    other = snapshot(10, "short", ("/var/lib/dump/other",))
    assert stand(dumped, retention="short", paths=(QUEUE,)).faults == ()
    assert stand(other, retention="short", paths=(QUEUE,)).faults == ("/var/spool/postfix is not in it",)


@pytest.mark.parametrize(
    "data",
    [
        {"id": "a", "class": "long", "paths": []},
        {"id": "a", "time": "yesterday", "class": "long", "paths": []},
        {"id": "a", "time": 7, "class": "long", "paths": []},
        ["a"],
    ],
)
def test_what_is_no_snapshot_is_said_in_a_line(data):
    with pytest.raises(BackupError, match="that is no snapshot"):
        Snapshot.of(data)


def test_a_snapshot_is_read_as_it_is_written():
    data = {
        "id": "1234abcd",
        "class": "short",
        "time": "2026-11-22T11:59:00Z",
        "paths": ["/srv/mail"],
        "bytes": 12,
    }
    assert Snapshot.of(data).data() == data


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (200_000, "2 d")]
)
def test_ages_are_in_the_largest_unit_that_they_fill(seconds, said):
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("octets", "said"), [(None, "?"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**50, "5120.0 TiB")]
)
def test_sizes_are_in_the_largest_unit_that_they_fill(octets, said):
    assert amount(octets) == said
