"""`rebuild` as a guide: in which order, what each step sees, and what it refuses to do."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailwright.backup.snapshots import BackupError, Snapshot
from mailwright.command import main, rebuild, shutout
from mailwright.command.growing import Growing
from mailwright.command.guide import Operator
from mailwright.command.rebuild import Rebuilding
from mailwright.command.shutout import Lost, newest
from mailwright.model.errors import MailwrightError, UnknownError
from mailwright.model.load import load_fleet
from mailwright.model.role import Result
from mailwright.model.secrets_store import initialise, locate
from mailwright.rebuilding import credentials
from mailwright.rebuilding.stage import Place, Stage

ROOT = Path(__file__).parents[2]
MINE = ("backup/out1/password", "backup/out1/rest")


class Host:
    """What answers at the machine's address: it says where it stands, and remembers its note."""

    def __init__(self, says):
        self.says = says

    def run(self, command):
        if self.says is None:
            raise UnknownError("connection timed out")
        if "echo" in command and "sync" in command:
            self.says = command[command.index("{") : command.rindex("}") + 1]
        elif "rm -f" in command:
            self.says = '"at work"'
        else:
            return Result(0, self.says, "")
        return Result(0, "", "")


@pytest.fixture
def inventory(tmp_path):
    """The lab's fleet, its files in a folder of the test's."""
    text = (ROOT / "inventory" / "lab.yaml").read_text().replace("/var/lib/mailwright/lab/lab", str(tmp_path))
    (tmp_path / "lab.yaml").write_text(text)
    shutil.copy(ROOT / "inventory" / "lab.py", tmp_path)
    return tmp_path / "lab.yaml"


@pytest.fixture
def host(monkeypatch):
    """Returns a function: what answers at every address."""

    def place(says):
        made = Host(says)
        monkeypatch.setattr(shutout, "runner", lambda _: made.run)
        return made

    return place


def growing(inventory, name="out1", *, yes=True):
    return Growing(inventory, name, Operator(yes=yes))


def lost(inventory, name="out1"):
    return Lost(growing(inventory, name))


# --- the order


def test_the_old_one_is_shut_out_before_the_new_one_is_met_and_opened_after_it_was_verified(
    inventory, capsys
):
    assert main.run(["rebuild", str(inventory), "out1", "--steps"]) == 0
    said = capsys.readouterr().out
    order = [
        "nobody is at work",
        "what is lost",
        "no balancer sends clients",
        "is closed",
        "no name leads",
        "refuses the old out1",
        "a bare host answers",
        "deploy out1, closed",
        "has what was backed up",
        "verify out1, closed",
        "opens out1",
        "deploy out1, open",
        "back out1 up again",
        "other machines",
        "its balancers send clients to out1",
        "names lead to out1 again",
        "verify the whole fleet",
    ]
    places = [said.index(words) for words in order]
    assert places == sorted(places)


def test_a_machine_without_backups_is_put_together_all_the_same(inventory, capsys):
    assert main.run(["rebuild", str(inventory), "util1", "--steps"]) == 0
    said = capsys.readouterr().out
    assert "deploy util1, closed" in said
    assert not [words for words in ("backed up of", "refuses the old", "up again") if words in said]


def test_a_time_that_is_none_is_one_line(inventory, capsys):
    assert main.run(["rebuild", str(inventory), "out1", "--at", "noon"]) == 1
    assert "--at noon: not a time" in capsys.readouterr().err


# --- what is there


@pytest.mark.parametrize(
    ("says", "stage"),
    [
        (None, Stage.SILENT),
        ('"bare"', Stage.BARE),
        ('"at work"', Stage.AT_WORK),
        ('{"begun": "2026-11-22T12:00:00Z"}', Stage.BEGUN),
        ('{"begun": "2026-11-22T12:00:00Z", "placed": "2026-11-22T12:05:00Z"}', Stage.PLACED),
    ],
)
def test_the_machine_itself_says_how_far_a_rebuild_has_come(says, stage):
    assert Place(Host(says).run).look()[0] is stage


def test_its_notes_follow_one_another():
    host = Host('"bare"')
    place = Place(host.run)
    found = []
    for step in (place.begin, place.placed, place.finish):
        step()
        found.append(place.look()[0])
    assert found == [Stage.BEGUN, Stage.PLACED, Stage.AT_WORK]


def test_a_machine_that_is_at_work_is_not_rebuilt(inventory, host):
    host('"at work"')
    with pytest.raises(MailwrightError, match="is at work: turn it off"):
        lost(inventory).see()
    host(None)
    assert "connection timed out" in lost(inventory).see()


def test_the_newest_snapshot_of_each_class_by_then_is_taken():
    at = partial(datetime, 2026, 11, 22, tzinfo=UTC)
    made = [Snapshot(at(h), str(h), c) for h, c in ((9, "long"), (10, "short"), (11, "long"), (12, "short"))]
    assert [s.id for s in newest(made, None)] == ["11", "12"]
    assert [s.id for s in newest(made, at(10, 30))] == ["9", "10"]
    assert newest(made, at(8)) == ()


def test_what_is_lost_is_said_and_a_machine_without_a_snapshot_is_not_begun(inventory, host, monkeypatch):
    (inventory.parent / "anchors").touch()
    authority = f"ca: {inventory.parent}/ca.pem"
    text = inventory.read_text().replace(f"  {authority}\n", "").replace(f", {authority}", "")
    inventory.write_text(text)
    site = growing(inventory).site
    vault = locate(site.fleet, inventory, {})
    initialise(site.fleet, vault.file, vault.identity, roles=site.roles, environ={})
    host(None)
    when = datetime(2026, 11, 22, 9, tzinfo=UTC)
    had = {"out1": (Snapshot(when, "1", "short", ("/var/spool/postfix",)),)}
    keeper = SimpleNamespace(snapshots=lambda name: had.get(name, ()))
    monkeypatch.setattr(shutout.Keeper, "of", lambda _: keeper)
    said = lost(inventory).backups(None)
    assert "short: 2026-11-22T09:00:00Z" in said
    assert "what out1 took or changed after these times is lost" in said
    assert "in none of these: /etc/mailwright/certificates" in said
    assert "in none of these: /var/spool/postfix" not in said
    asked = []
    monkeypatch.setattr(Operator, "agree", lambda _, question: asked.append(question))
    had["out1"] += (Snapshot(when + timedelta(hours=1), "2", "short", ("/srv/other",)),)
    said = lost(inventory).backups(None)
    (queue,) = (line for line in said.splitlines() if line.startswith("in none of these: /var/spool/postfix"))
    assert queue.endswith("it comes back from that of 2026-11-22T09:00:00Z")
    assert len(asked) == 1
    assert "of 2026-11-22T09:00:00Z: what has left since then is sent again" in asked[0]
    with pytest.raises(BackupError, match="has no snapshot of 2026-11-21T00:00:00Z or before"):
        lost(inventory).backups(datetime(2026, 11, 21, tzinfo=UTC))
    with pytest.raises(BackupError, match="remove --lost"):
        lost(inventory, "out2").backups(None)


# --- shutting out


def test_the_fleet_file_closes_it_and_opens_it_again_octet_for_octet(inventory, host):
    before = inventory.read_bytes()
    host(None)
    lost(inventory).close()
    assert load_fleet(inventory).machine("out1").closed
    assert lost(inventory).close() == "it does"
    rebuilding = Rebuilding(growing(inventory))
    rebuilding.open()
    assert inventory.read_bytes() == before
    assert rebuilding.open() == "it does"


def test_once_it_is_being_opened_nothing_shuts_it_out_again(inventory, host):
    host('{"placed": "2026-11-22T12:05:00Z"}')
    for step in (lost(inventory).drain, lost(inventory).close, lost(inventory).lead_nobody):
        assert "being" in step()
    assert not load_fleet(inventory).machine("out1").closed


@pytest.fixture
def vault(inventory):
    fleet = load_fleet(inventory)
    vault = locate(fleet, inventory, {})
    initialise(
        fleet, vault.file, vault.identity, extra=dict.fromkeys((*MINE, "backup/out2/rest"), "old"), environ={}
    )
    return vault


def test_its_credentials_at_the_store_are_exchanged_and_the_keeper_learns_of_it(
    inventory, vault, host, monkeypatch
):
    host(None)
    deployed = []

    def converge(_repository, _shim, machines, roles, _say):
        deployed.append((machines, roles, vault.read().secrets["backup/out1/rest"]))
        return {"vault1": ""}

    monkeypatch.setattr(shutout, "converge", converge)
    lost(inventory).fence()
    now = vault.read().secrets
    assert all(now[name] != "old" for name in MINE)
    assert now["backup/out2/rest"] == "old"
    assert deployed == [(["vault1"], ["backup_store"], now["backup/out1/rest"])]
    host('{"begun": "2026-11-22T12:00:00Z"}')
    assert lost(inventory).fence() == "exchanged before"
    assert vault.read().secrets == now


def test_a_keeper_that_cannot_be_deployed_stops_the_guide(inventory, vault, host, monkeypatch):  # noqa: ARG001
    host(None)
    monkeypatch.setattr(shutout, "converge", lambda *_: {"vault1": "no route to host"})
    with pytest.raises(MailwrightError, match="vault1: no route to host"):
        lost(inventory).fence()


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUu1fUBKxKOPoSjyYBfbpsZCtqJmVSBeyRmVFDmfFgg"
STORES = {
    "host": ("{ type: host, machine: vault1", ("password", "rest"), ()),
    "s3": ("{ type: s3, bucket: fleet", ("password",), ("s3-id", "s3-key")),
    "sftp": (
        f"{{ type: sftp, host: backups.example.net, host_keys: [{HOST_KEY}]",
        ("password",),
        ("ssh",),
    ),
}


@pytest.mark.parametrize("kind", STORES)
def test_what_somebody_else_must_exchange_is_named(inventory, kind):
    store, drawn, left = STORES[kind]
    keeper = "" if kind == "host" else "\n  keeper: vault1"
    text = inventory.read_text()
    start = text.index("  store: { type: host")
    end = text.index("\n", start)
    ca = "" if kind == "sftp" else f", ca: {inventory.parent}/ca.pem"
    inventory.write_text(f"{text[:start]}  store: {store}{ca} }}{keeper}{text[end:]}")
    site = growing(inventory).site
    machine = site.fleet.machine("out1")
    assert set(credentials.drawn(site, machine)) == {f"backup/out1/{each}" for each in drawn}
    assert set(credentials.left(site, machine)) == {f"backup/out1/{each}" for each in left}


# --- the new one


def test_what_is_no_bare_host_is_not_taken_for_the_new_one(inventory, host, monkeypatch):
    answering = host('"at work"')
    monkeypatch.setattr(rebuild, "carry_over", lambda *_: None)
    monkeypatch.setattr(rebuild, "first_sight", lambda *_: None)
    monkeypatch.setattr(Growing, "see", lambda _: "it answers")
    with pytest.raises(MailwrightError, match="is no bare host"):
        Rebuilding(growing(inventory)).meet()
    answering.says = '"bare"'
    assert Rebuilding(growing(inventory)).meet() == "it answers"
    assert "begun" in json.loads(answering.says)


def test_nothing_is_brought_back_to_an_open_machine_nor_twice(inventory, host):
    answering = host('{"begun": "2026-11-22T12:00:00Z"}')
    with pytest.raises(MailwrightError, match="is open"):
        Rebuilding(growing(inventory)).bring_back()
    answering.says = '{"placed": "2026-11-22T12:05:00Z"}'
    assert Rebuilding(growing(inventory)).bring_back() == "brought back before"
