"""`add` and `remove` as guides: in which order, who is asked, and what a failed step leaves."""

import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from maildns.judging.check import State, Verdict
from maildns.records import RRset
from mailwright.command import main, remove
from mailwright.command.add import Entry, Joining
from mailwright.command.growing import Growing
from mailwright.command.guide import Operator, Step, follow, replace_text
from mailwright.command.remove import Leaving, QueueFate
from mailwright.dnsplan import Plans
from mailwright.growth import sight
from mailwright.hostkeys import HostKey, pin, pinned
from mailwright.model.errors import MailwrightError
from mailwright.model.load import load_fleet
from mailwright.queue import QueueError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def inventory(tmp_path):
    """A copy of the worked example."""
    for name in ("prod.yaml", "prod.py"):
        shutil.copy(ROOT / "inventory" / name, tmp_path)
    return tmp_path / "prod.yaml"


def growing(inventory, name, *, yes=True):
    return Growing(inventory, name, Operator(yes=yes))


def failing(sentence):
    def work():
        raise MailwrightError(sentence)

    return work


# --- the guide


def test_a_guide_stops_at_the_first_step_that_fails(capsys):
    later = []
    steps = [Step("one", lambda: "found"), Step("two", failing("wrong\ntwice")), Step("three", later.append)]
    assert follow(steps) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == ["1/3  one", "     found", "2/3  two"]
    assert said.err.splitlines()[:2] == ["     wrong", "     twice"]
    assert "the same command goes on from here" in said.err
    assert later == []


def test_a_guide_that_only_prints_does_nothing(capsys):
    assert follow([Step("one", failing("never")), Step("two", failing("never"))], only_print=True) == 0
    assert capsys.readouterr().out == "1/2  one\n2/2  two\n"


def test_names_come_before_the_machine_and_clients_after_its_suite(inventory):
    titles = [step.title.split()[0] for step in Joining(growing(inventory, "out3")).steps()]
    assert titles == [
        *("the", "out3", "publish", "the", "the", "provision", "verify", "let", "its", "a", "verify")
    ]


@pytest.fixture
def host_key(monkeypatch):
    """What every machine shows; nobody is connected to."""
    key = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f")
    monkeypatch.setattr("mailwright.command.hostkeys.scan", lambda _machine: key)
    monkeypatch.setattr(Growing, "see", lambda _self: "it answers")
    return key


def test_a_fleet_that_pins_host_keys_pins_that_of_a_new_machine_first(inventory, host_key, monkeypatch):
    pins = inventory.with_suffix(".known_hosts")
    pins.touch()
    joining = Joining(growing(inventory, "out2"), fingerprint=host_key.fingerprint)
    assert joining.see() == "it answers"
    out2 = load_fleet(inventory).machine("out2")
    assert pinned(out2, pins) == (host_key,)
    monkeypatch.setattr("mailwright.command.hostkeys.scan", None)  # what is pinned is not asked for
    assert joining.see() == "it answers"


def test_a_new_machine_with_another_host_key_than_its_console_shows_is_not_spoken_to(inventory, host_key):
    pins = inventory.with_suffix(".known_hosts")
    pins.touch()
    with pytest.raises(MailwrightError, match=host_key.fingerprint):
        Joining(growing(inventory, "out2"), fingerprint="SHA256:" + 43 * "A").see()
    assert pins.read_text() == ""


def test_a_fleet_that_pins_no_host_keys_gets_no_file_by_an_addition(inventory, host_key):
    del host_key
    Joining(growing(inventory, "out2")).see()
    assert not inventory.with_suffix(".known_hosts").exists()


def test_a_machine_that_leaves_takes_its_host_key_along(inventory, host_key):
    pins = inventory.with_suffix(".known_hosts")
    fleet = load_fleet(inventory)
    for name in ("out1", "out2"):
        pin(pins, fleet.machine(name), [host_key])
    Leaving(growing(inventory, "out2")).take_out()
    assert pinned(fleet.machine("out2"), pins) == ()
    assert pinned(fleet.machine("out1"), pins) == (host_key,)


def test_a_machine_leaves_its_clients_first_and_its_names_last(inventory, capsys):
    assert main.run(["remove", str(inventory), "out2", "--steps"]) == 0
    said = capsys.readouterr().out
    order = [
        "no client",
        "takes no more mail",
        "queue",
        "stop Postfix",
        "fleet file",
        "forget",
        "records",
        "names",
    ]
    places = [said.index(word) for word in order]
    assert places == sorted(places)


def test_a_machine_that_is_lost_is_asked_nothing(inventory, capsys):
    assert main.run(["remove", str(inventory), "out2", "--lost", "--steps"]) == 0
    said = capsys.readouterr().out
    assert "SSH" not in said
    assert "queue" not in said
    assert "fleet file" in said


def test_a_machine_without_mail_has_no_queue_to_wait_for(inventory):
    text = inventory.read_text().replace("  - name: mx1\n", EXTRA + "  - name: mx1\n")
    inventory.write_text(text)
    leaving = Leaving(growing(inventory, "web1"))
    titles = " / ".join(step.title for step in leaving.before(leaving.growing.site))
    assert "queue" not in titles
    assert "fleet file" in titles


EXTRA = """\
  - name: web1
    fqdn: web1.news.example.com
    ipv4: 192.0.2.31
    roles: { base: {} }
"""


def test_once_it_is_out_of_the_fleet_file_the_rest_is_gone_on_with(inventory, capsys):
    assert main.run(["remove", str(inventory), "out9", "--steps"]) == 0
    said = capsys.readouterr()
    assert "not in the fleet file" in said.err
    assert said.out.splitlines()[0] == "1/4  the other machines forget out9"


# --- the fleet file


def join(inventory, name="out3", *, yes=True, **entry):
    given = {"like": "out2", "ipv4": "192.0.2.13", "ipv6": "2001:db8:1::13"} | entry
    return Joining(growing(inventory, name, yes=yes), Entry(**given)).write_entry()


def test_an_entry_is_written_and_its_host_name_is_beside_the_other_ones(inventory, capsys):
    join(inventory)
    made = load_fleet(inventory).machine("out3")
    assert (made.fqdn.bare, str(made.ipv4), made.debian) == ("out3.news.example.com", "192.0.2.13", 12)
    assert "+    ipv4: 192.0.2.13" in capsys.readouterr().out
    assert join(inventory) == "it has; a member of no pool"  # twice is once


def test_what_would_make_the_fleet_wrong_is_not_written(inventory):
    before = inventory.read_bytes()
    with pytest.raises(MailwrightError, match=r"prod\.yaml:\d+: machines\[2\]\.ipv4: .*192\.0\.2\.11"):
        join(inventory, ipv4="192.0.2.11")
    assert inventory.read_bytes() == before


def test_nothing_is_written_without_consent(inventory, monkeypatch):
    before = inventory.read_bytes()
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: (_ for _ in ()).throw(typer.Abort()))
    with pytest.raises(typer.Abort):
        join(inventory, yes=False)
    assert inventory.read_bytes() == before


def test_a_machine_that_is_there_already_is_the_one_that_is_meant(inventory):
    join(inventory)
    before = inventory.read_bytes()
    with pytest.raises(MailwrightError, match=r"has out3 with ipv4 192\.0\.2\.13, not 192\.0\.2\.14"):
        join(inventory, ipv4="192.0.2.14")
    with pytest.raises(MailwrightError, match=r"has out3 with fqdn out3\.news\.example\.com, not out4\."):
        join(inventory, fqdn="out4.news.example.com")
    assert inventory.read_bytes() == before


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"ipv4": None}, "out2 has an ipv4 address: give the new one by --ipv4"),
        ({"like": "out9"}, "--like out9: the fleet has no such machine"),
        ({"ipv4": "192.0.2.999"}, "not an IPv4 address: 192.0.2.999"),
    ],
)
def test_what_is_missing_of_an_entry_is_said(inventory, entry, sentence):
    with pytest.raises(MailwrightError, match=sentence):
        join(inventory, **entry)


def test_addresses_without_a_machine_to_be_like_are_refused(inventory, capsys):
    assert main.run(["add", str(inventory), "out3", "--ipv4", "192.0.2.13"]) == 1
    assert "say --like" in capsys.readouterr().err


def test_a_machine_that_nobody_has_described_is_refused(inventory):
    with pytest.raises(
        MailwrightError, match="the fleet has no machine out3: give it an entry, or say --like"
    ):
        Joining(growing(inventory, "out3")).write_entry()


def test_a_machine_that_is_needed_is_kept(inventory):
    with pytest.raises(MailwrightError, match=r"mx1 cannot go: it is the only MX of news\.example\.com"):
        Leaving(growing(inventory, "mx1")).dispensable()


def test_taking_out_and_adding_change_what_is_meant(inventory):
    Leaving(growing(inventory, "out2")).take_out()
    assert [m.name for m in load_fleet(inventory).machines] == ["out1", "mx1"]


def test_a_file_is_exchanged_as_a_whole_with_its_mode_and_behind_its_link(tmp_path):
    file, link = tmp_path / "fleet.yaml", tmp_path / "link.yaml"
    file.write_text("old\n")
    file.chmod(0o640)
    link.symlink_to(file)
    replace_text(link, "new\r\n")
    assert (file.read_bytes(), file.stat().st_mode & 0o777, link.is_symlink()) == (b"new\r\n", 0o640, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fleet.yaml", "link.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_that_root_exchanges_stays_its_owner_s(tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text("old\n")
    os.chown(file, 4321, 4322)
    replace_text(file, "new\n")
    assert (file.stat().st_uid, file.stat().st_gid) == (4321, 4322)


# --- leaving


@dataclass
class FakeMta:
    """Postfix that does what it is told, and remembers it."""

    log: list = field(default_factory=list)
    closed: bool = False
    stopped: bool = False
    revival: str = "systemctl unmask it"
    messages: int = 3
    open: int = 2

    def look(self):
        return self

    def close_doors(self):
        self.log.append("close")
        self.closed = True

    def sessions(self, ports):
        self.log.append(ports)
        self.open -= 1
        return self.open

    def wait_until_empty(self, patience, _say):
        self.log.append(("wait", patience))

    def hand_over_to_one(self, others, _patience, _say):
        self.log.append([m.name for m in others])
        return others[0]

    def stop(self):
        self.log.append("stop")
        self.stopped = True


@pytest.fixture
def leaving(inventory, monkeypatch):
    """Returns a function: a departure of out2, and its Postfix."""

    def make(queue=QueueFate.WAIT, peer=None, **state):
        mta = FakeMta(**state)
        monkeypatch.setattr(remove.Leaving, "_mta", lambda *_: mta)
        monkeypatch.setattr(remove, "_ports", lambda *_: (465, 587))
        return Leaving(growing(inventory, "out2"), queue, peer, pause=lambda _: None), mta

    return make


def test_doors_are_closed_before_the_queue_is_waited_for(leaving):
    made, mta = leaving()
    assert made.close() == "ports 465, 587: closed, no session open"
    assert made.empty() == "all of it is delivered"
    assert made.stop() == "stopped and masked"
    assert mta.log == ["close", (465, 587), (465, 587), ("wait", 600.0), "stop"]


def test_what_is_done_is_not_done_again(leaving):
    made, mta = leaving(closed=True, stopped=True, messages=0)
    assert (made.close(), made.empty(), made.stop()) == (
        "Postfix is stopped already",
        "it is",
        "stopped and masked",
    )
    assert mta.log == []


def test_mail_in_a_stopped_machine_s_queue_stops_the_guide_and_how_to_start_it_is_said(leaving):
    made, mta = leaving(closed=True, stopped=True, messages=1)
    with pytest.raises(MailwrightError, match=r"Postfix is stopped .*: `systemctl unmask it`"):
        made.empty()
    assert mta.log == []


def test_a_queue_is_offered_to_every_other_sender_or_to_the_one_that_is_named(leaving):
    made, mta = leaving(QueueFate.HAND_OVER)
    assert made.empty() == "out1 has taken it over"
    made, named = leaving(QueueFate.HAND_OVER, peer="mx1")
    made.empty()
    assert (mta.log, named.log) == ([["out1", "mx1"]], [["mx1"]])
    made, _ = leaving(QueueFate.HAND_OVER, peer="out2")
    with pytest.raises(MailwrightError, match="--peer out2: the other machines that send are out1, mx1"):
        made.empty()


def test_a_queue_that_does_not_empty_stops_the_guide(leaving, monkeypatch):
    made, _ = leaving()
    monkeypatch.setattr(FakeMta, "wait_until_empty", lambda *_: (_ for _ in ()).throw(QueueError("2 left")))
    assert follow([Step("the queue", made.empty), Step("stop", made.stop)]) == 1


def test_without_balancers_the_old_addresses_are_waited_out(inventory, monkeypatch):
    inventory.write_text(inventory.read_text().replace("machines:\n", POOL + "machines:\n", 1))
    waited, published = [], []
    leading = frozenset({("smtp.news.example.com.", "A")})
    monkeypatch.setattr(remove, "leading_records", lambda *_: leading)
    monkeypatch.setattr(remove, "plan_site", lambda site, **_: site)
    monkeypatch.setattr(remove, "part_of", lambda _, chosen: SimpleNamespace(by_hand=(), chosen=chosen))
    monkeypatch.setattr(Growing, "publish", lambda _, site, plans: published.append((site, plans)) or True)
    made = Leaving(growing(inventory, "out2"), pause=waited.append)
    assert made.lead_nobody().startswith("no longer among smtp.news.example.com: waited")
    (site, plans) = published[0]
    chosen = plans.chosen
    assert [m.name for m in site.fleet.members(site.fleet.pools[0])] == ["out1"]
    assert chosen(("smtp.news.example.com.", "A"))
    assert not chosen(("out2.news.example.com.", "A"))  # it sends until its queue is empty
    assert waited == [site.fleet.dns.ttl]


def test_what_leads_to_it_by_hand_is_waited_for_until_the_world_sees_it(inventory, monkeypatch):
    inventory.write_text(inventory.read_text().replace("machines:\n", POOL + "machines:\n", 1))
    site = growing(inventory, "out2").site
    without = replace(site, fleet=site.fleet.model_copy(update={"providers": {}}))
    monkeypatch.setattr(Growing, "site", without)
    key, waited = ("smtp.news.example.com.", "A"), []
    monkeypatch.setattr(remove, "leading_records", lambda *_: frozenset({key}))
    plans = Plans((), (RRset(*key, 300, frozenset({"192.0.2.11"})),), {})
    monkeypatch.setattr(remove, "plan_site", lambda *_, **__: plans)
    monkeypatch.setattr(remove.Leaving, "_mta", lambda *_: FakeMta())
    old = Verdict(*key, State.FAULT, "192.0.2.12 is there as well", "records")
    other = Verdict("mx1.smtp.news.example.com.", "A", State.FAULT, "is another matter", "records")
    seen = [old, other]
    monkeypatch.setattr(sight, "check_site", lambda *_: iter(seen))
    made = Leaving(growing(inventory, "out2"), pause=waited.append)
    with pytest.raises(MailwrightError) as failed:
        made.lead_nobody()
    assert str(failed.value) == "smtp.news.example.com. A: 192.0.2.12 is there as well; change it by hand"
    assert waited == []
    seen.remove(old)
    ttl = site.fleet.dns.ttl
    assert made.lead_nobody() == f"no longer among smtp.news.example.com: waited the TTL of {ttl} s"
    assert waited == [ttl]


POOL = """\
pools:
  - { name: outgoing, service: smtp.news.example.com, members: [sending] }
"""
