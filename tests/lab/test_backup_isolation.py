"""Pins that a machine which somebody has taken over adds backups and does nothing else to them.

The attacker here has root on the machine, and with it the machine's credentials towards the store.
"""

import json

import pytest

from mailwright.repositories import REPOSITORIES
from tests.lab.storing import connects, contents, makers

MINUTES = 3
ID = 64 * "a"
REFUSED = 5
"""Seconds after which restic, which tries again and again what is refused, has tried often enough."""
KINDS = ("data", "index", "snapshots", "keys", "locks")


@pytest.fixture(scope="module")
def store(deployed, site):
    """The host that takes the backups."""
    return deployed.host(site.fleet.backup.kept_by)


@pytest.fixture(scope="module")
def pair(deployed, site, store):
    """(attacker, victim): two machines, each with a snapshot that the store has."""
    attacker, victim = makers(deployed, site, store)[:2]
    for one in (attacker, victim):
        one.keeper("restic", "unlock", "--remove-all").require()  # of a session that was killed
        one.first = one.back_up(f"of {one.name}\n")
    yield attacker, victim
    for one in (attacker, victim):
        one.host.run(["rm", "-rf", "/root/kept"]).require()
        one.forget()


@pytest.fixture
def untouched(store, pair):
    """Whatever the test does: all that lay in the store before lies there after, and can be restored."""
    before = contents(store)
    yield
    after = contents(store)
    assert {path: after.get(path) for path in before} == before
    for one in pair:
        assert one.restored(one.first) == f"of {one.name}\n"


def curl(attacker, *arguments, credentials=None):
    """The status of one request with the machine's own credentials; 0: no answer."""
    words = ["curl", "-sS", "--insecure", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]
    found = attacker.host.in_network([*words, "--user", credentials or attacker.credentials, *arguments])
    return int(found.stdout or 0)


def address(store):
    """Where the store takes requests; the programs of the controller know the lab's names not."""
    return f"https://{store.host.address}:8000"


DESTRUCTION = (
    ("forget", "latest"),
    ("forget", "--prune", "--keep-last", "1", "--group-by", ""),
    ("prune", "--max-unused", "0"),
    ("tag", "--set", "short"),
    ("rewrite", "--forget", "--exclude", "file", "latest"),
    ("key", "passwd", "--new-password-file", "/etc/hostname"),
    ("key", "add", "--new-password-file", "/etc/hostname"),
    ("init",),
    ("unlock", "--remove-all"),
)


@pytest.mark.proof("a machine that was taken over cannot take back or change what it stored")
@pytest.mark.usefixtures("untouched")
def test_restic_of_a_compromised_machine_destroys_nothing(pair, evidence):
    attacker, _ = pair
    kept = attacker.snapshots()
    keys = json.loads(attacker.restic("key", "list", "--json").require().stdout)
    removals = [("key", "remove", key["id"]) for key in keys if not key["current"]]
    assert removals
    for command in (*DESTRUCTION, *removals):
        attacker.restic(*command, seconds=REFUSED)
        attacker.restic("unlock", "--remove-all")
    assert kept <= attacker.snapshots()
    evidence(f"{len(DESTRUCTION) + len(removals)} commands of restic took nothing away")


@pytest.mark.proof("the store refuses raw requests that delete, overwrite or read what is others'")
@pytest.mark.usefixtures("untouched")
def test_the_gate_and_the_server_refuse_raw_requests(store, pair, evidence):
    attacker, victim = pair
    at, seen = address(store), {}
    below = f"{REPOSITORIES}/{attacker.name}"
    files = [path.removeprefix(f"{below}/") for path in contents(store) if path.startswith(f"{below}/")]
    stored = [f"{kind}/{path.rpartition('/')[2]}" for path in files if (kind := path.split("/")[0]) in KINDS]
    for place in ("config", "", *KINDS, *stored, *(f"{kind}/{ID}" for kind in KINDS if kind != "locks")):
        for method in ("DELETE", "PUT", "PATCH"):
            seen[method, place] = curl(attacker, "-X", method, f"{at}/{attacker.name}/{place}")
    for place in (
        "config",
        "?create=true",
        f"keys/{ID}",
        f"data/{ID}",
        f"index/{ID}",
        f"snapshots/{ID}",
        *stored,
    ):
        seen["POST", place] = curl(attacker, "--data-binary", "rubbish", f"{at}/{attacker.name}/{place}")
    assert all(400 <= status < 500 for status in seen.values()), {
        k: v for k, v in seen.items() if not 400 <= v < 500
    }
    for method in ("GET", "POST", "DELETE"):
        for place in ("config", "keys/", "snapshots/", f"locks/{ID}"):
            status = curl(attacker, "-X", method, f"{at}/{victim.name}/{place}")
            assert status in (401, 403), (method, place, status)
    evidence(f"{len(seen)} requests refused")


def tricks(attacker, victim):
    """Paths that might lead out of the own folder."""
    theirs = f"{victim.name}/config"
    return (
        f"/{attacker.name}/../{theirs}",
        f"/{attacker.name}/%2e%2e/{theirs}",
        f"/{attacker.name}/..%2f{theirs}",
        f"/{attacker.name}/data/..%2f..%2f..%2f{theirs}",
        f"//{attacker.name}//..//{theirs}",
        f"/{attacker.name}/./../{theirs}",
        f"/{attacker.name}/data/../../{theirs}",
        f"/{attacker.name}/data/%2e%2e%2f%2e%2e%2f{theirs}%00",
        f"/{attacker.name}\\..\\{victim.name}\\config",
        "/../../../etc/passwd",
        f"/{attacker.name}/../../../../etc/passwd",
        f"/{attacker.name}/.reserve",
        "/.reserve",
        "/",
        "/metrics",
    )


@pytest.mark.proof("no trick with paths leads out of a machine's own repository")
@pytest.mark.usefixtures("untouched")
def test_paths_lead_nowhere_else(store, pair):
    attacker, victim = pair
    for path in tricks(attacker, victim):
        for more in ((), ("-X", "DELETE"), ("-X", "POST", "--data-binary", "rubbish")):
            status = curl(attacker, "--path-as-is", *more, f"{address(store)}{path}")
            assert 400 <= status < 500, (path, more, status)


def test_another_machines_name_does_not_open_its_repository(store, pair):
    attacker, victim = pair
    _, _, password = attacker.credentials.partition(":")
    for name in (attacker.name, victim.name, "", "root", f"{victim.name}\n{attacker.name}"):
        for path in ("config", "keys/", "snapshots/"):
            url = f"{address(store)}/{victim.name}/{path}"
            assert curl(attacker, url, credentials=f"{name}:{password}") in (400, 401)


@pytest.mark.proof("a machine reads its own snapshots, and adds more")
def test_a_machine_reads_its_own_and_adds_more(pair):
    attacker, _ = pair
    again = attacker.back_up("more\n")
    assert again in attacker.snapshots()
    attacker.restic("restore", again, "--target", "/root/kept/back").require()
    assert attacker.host.read("/root/kept/back/root/kept/file") == b"more\n"


def test_nothing_but_the_doors_port_is_open_to_a_machine(store, pair):
    attacker, _ = pair
    for port, is_open in ((8000, True), (22, False), (80, False), (443, False)):
        assert connects(attacker.host, store.host.address, port) is is_open, port


def test_machines_that_make_no_backups_do_not_reach_the_store(deployed, site, store):
    others = {host.name for host in deployed.hosts} - {m.name for m in site.fleet.machines}
    assert not connects(deployed.host(min(others)), store.host.address, 8000)


def test_an_exchanged_secret_shuts_the_old_one_out_in_one_run(pair, store):
    attacker, _ = pair
    password = f"/etc/mailwright/backup-keeper/machines/{attacker.name}"
    old = store.read(password)
    try:
        store.run(["tee", password], stdin="another\n").require()
        store.run(["mailwright-backup-keeper", "keys"]).require()
        assert "wrong password or no key found" in (refused := attacker.restic("snapshots")).stderr, refused
    finally:
        store.run(["tee", password], stdin=old).require()
        store.run(["mailwright-backup-keeper", "keys"]).require()
    attacker.restic("snapshots").require()
    assert store.run(["mailwright-backup-keeper", "keys", "--settled"]).ok


@pytest.mark.usefixtures("untouched")
def test_a_full_quota_refuses_new_backups_and_keeps_the_old(pair, store):
    attacker, _ = pair
    unit = f"/etc/systemd/system/mailwright-repository-{attacker.name}.service"
    old = store.read(unit)
    filled = int(store.run(f"du -sb {REPOSITORIES}/{attacker.name} | cut -f1").require().stdout)
    try:
        store.run(f"sed -i 's/--max-size [0-9]*/--max-size {filled + 2**20}/' {unit}").require()
        store.run(
            f"systemctl daemon-reload && systemctl stop mailwright-repository-{attacker.name}.service"
        ).require()
        attacker.host.run("head -c 4194304 /dev/urandom >/root/kept/large").require()
        assert not attacker.restic("backup", "--quiet", "/root/kept", seconds=15).ok
    finally:
        attacker.host.run(["rm", "-f", "/root/kept/large"]).require()
        store.run(["tee", unit], stdin=old).require()
        store.run(
            f"systemctl daemon-reload && systemctl stop mailwright-repository-{attacker.name}.service"
        ).require()
    attacker.back_up("again\n")
