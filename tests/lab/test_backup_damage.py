"""Pins that damage at the store is told, that the next runs mend what they can, and that a loss is named."""

import pytest

from mailwright.repositories import REPOSITORIES
from tests.lab.deploying import verify
from tests.lab.storing import makers

MINUTES = 3
METRICS = "/var/lib/prometheus/node-exporter/mailwright_backup_keeper.prom"
TEXT = "".join(f"line {n} of what is worth keeping\n" for n in range(20_000))


@pytest.fixture(scope="module")
def store(deployed, site):
    """The host that takes the backups."""
    return deployed.host(site.fleet.backup.kept_by)


@pytest.fixture
def stored(deployed, site, store):
    """A machine with a snapshot of a text of some size."""
    one = makers(deployed, site, store)[0]
    one.first = one.back_up(TEXT)
    yield one
    one.host.run(["rm", "-rf", "/root/kept"]).require()
    one.forget()


def largest(store, name, kind):
    """The largest file of a kind in a machine's repository."""
    find = f"find {REPOSITORIES}/{name}/{kind} -type f -printf '%s %p\n' | sort -n | tail -1"
    return store.run(find).require().stdout.split()[1]


def told(store, deployed, name, word):
    """What the verification and the metrics say after a check that failed."""
    assert f'mailwright_backup_check_failed{{machine="{name}"}} 1' in store.read(METRICS).decode()
    wrong = verify(deployed.plan.file, store.name)
    (sentence,) = [text for item, text in wrong.items() if "were pruned and can be read" in item]
    assert word in sentence
    return sentence


def well(store, stored):
    """The keeper finds nothing wrong any more, in the status and in the metrics."""
    checked = stored.keeper("check")
    assert checked.ok, checked.stderr
    assert f'mailwright_backup_check_failed{{machine="{stored.name}"}} 0' in store.read(METRICS).decode()
    assert not stored.status()["faults"]["read"]


@pytest.mark.proof("a corrupt pack is told, named and taken out, and the next backup makes up for it")
def test_a_corrupt_pack(deployed, store, stored, evidence):
    pack = largest(store, stored.name, "data")
    store.run(f"chmod u+w {pack} && printf garbage | dd of={pack} bs=1 seek=300 conv=notrunc").require()
    checked = stored.keeper("check", "--all")
    assert not checked.ok
    assert "/root/kept/file" in checked.stderr, "the file that needs the pack is not named"
    evidence(told(store, deployed, stored.name, pack.rpartition("/")[2][:8]))
    again = stored.back_up(TEXT)
    well(store, stored)
    assert stored.restored(again) == stored.restored(stored.first) == TEXT


@pytest.mark.proof(
    "what a corrupt pack took with it is named, and leaves the snapshots that can be had whole"
)
def test_what_is_beyond_repair_is_named(store, stored):
    pack = largest(store, stored.name, "data")
    store.run(["truncate", "-s", "100", pack]).require()
    assert not stored.keeper("check").ok
    again = stored.back_up("all of it is new\n")
    checked = stored.keeper("check")
    assert not checked.ok, "a file of the first snapshot is gone for good"
    assert stored.restored(again) == "all of it is new\n"
    if store.host.release != "bookworm":
        stored.keeper("repair").require()
        well(store, stored)
        assert stored.restored(again) == "all of it is new\n"


@pytest.mark.proof("a truncated index is told and made anew")
def test_a_truncated_index(deployed, store, stored):
    store.run(["truncate", "-s", "100", largest(store, stored.name, "index")]).require()
    checked = stored.keeper("check")
    assert not checked.ok
    assert "index was damaged and has been made anew" in checked.stderr
    told(store, deployed, stored.name, "index")
    well(store, stored)
    assert stored.restored(stored.first) == TEXT


@pytest.mark.proof("on a full disk a backup fails, what is there stays whole, and pruning makes room again")
def test_a_full_disk(store, stored):
    store.give_disk(REPOSITORIES, megabytes=192)
    try:
        stored.host.run("head -c 201326592 /dev/urandom >/root/kept/large").require()
        assert not stored.restic("backup", "--quiet", "/root/kept", seconds=30).ok
        assert "the disk is" in "".join(stored.status()["faults"]["room"])
        assert stored.restored(stored.first) == TEXT
        stored.host.run(["rm", "/root/kept/large"]).require()
        stored.restic("unlock", "--remove-all")  # a killed client's lock would die away in half an hour
        stored.keeper("prune").require()
        assert not stored.status()["faults"]["room"]
        assert stored.restored(stored.back_up("small\n")) == "small\n"
        stored.keeper("check").require()
    finally:
        store.take_disks()
