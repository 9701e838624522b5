"""What `dns check` prints, chooses and exits with."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from maildns.asking.authority import AskError, Server
from maildns.judging.check import State, Verdict
from mailwright.command import dns_check
from mailwright.command.main import run
from mailwright.dnscheck import KINDS, blocklists, check_site
from mailwright.dnscheck.asking import Asking, Memo
from mailwright.model.errors import DnsError
from mailwright.model.load import load_site
from mailwright.model.role import Role, Settings
from mailwright.world import World

FLEET = """
lab: { name: checkcmd, ipv4: 198.51.100.0/24, ipv6: "2001:db8:100::/64" }
owner: { name: Test, postmaster: postmaster@brightpost.example }
providers:  # nobody is there
  knot: { type: rfc2136, server: 127.0.0.9, key_name: all., key: tsig/test }
domains:
  - { name: brightpost.example, provider: knot, mx: [mx1] }
  - { name: parcelnote.example, provider: knot }
machines:
  - { name: mx1, fqdn: mx1.brightpost.example, ipv4: 198.51.100.21, roles: { postfix: {} } }
"""

GOOD = Verdict("a.example.", "MX", State.OK, "as wanted at ns1", "records")
BAD = Verdict("a.example.", "SPF", State.FAULT, "no SPF records instead of one", "records", "publish it")
DARK = Verdict("b.example.", "server ns2", State.UNKNOWN, "ns2 does not answer", "delegation")


@pytest.fixture(name="site")
def site_fixture(tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET)
    roles = (Role("postfix", Settings, apply=lambda _: None),)
    return load_site(file, roles, {"MAILWRIGHT_SECRET_TSIG_TEST": "bm90IGl0"})


@pytest.fixture(name="check")
def check_fixture(monkeypatch, capsys):
    """The command over verdicts that a test gives, one list a round."""

    def check(*rounds: list[Verdict], arguments: tuple[str, ...] = ()) -> tuple[int, str, str]:
        left = iter(rounds)
        monkeypatch.setattr(dns_check, "open_site", lambda path: path)
        monkeypatch.setattr(dns_check, "check_site", lambda _, __: next(left))
        status = run(["dns", "check", "fleet.yaml", *arguments])
        return status, *capsys.readouterr()

    return check


@pytest.mark.parametrize(
    ("verdicts", "status"), [([GOOD], 0), ([GOOD, DARK], 3), ([GOOD, DARK, BAD], 1), ([], 0)]
)
def test_a_fault_outweighs_what_is_not_known(check, verdicts, status):
    assert check(verdicts)[0] == status


def test_what_needs_somebody_is_said_again_at_the_end_with_the_remedy(check):
    _, out, _ = check([BAD, DARK, GOOD])
    assert out.splitlines()[-3:] == [
        "fault   a.example. SPF: no SPF records instead of one; to do: publish it",
        "unknown b.example. server ns2: ns2 does not answer",
        "1 ok, 1 fault, 1 unknown",
    ]
    assert out.splitlines()[:2] == ["a.example.", "  fault   SPF         no SPF records instead of one"]


def test_json_holds_all_of_it(check):
    _, out, _ = check([BAD], arguments=("--json",))
    assert json.loads(out) == [
        {
            "subject": "a.example.",
            "what": "SPF",
            "state": "fault",
            "sentence": "no SPF records instead of one",
            "kind": "records",
            "remedy": "publish it",
        }
    ]


class _EndOfRounds:
    """Stands for ctrl-C after so many rounds."""

    def __init__(self, rounds: int) -> None:
        self.left = rounds

    def __call__(self, _: float) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def watched(monkeypatch, capsys, *rounds: list[Verdict], as_json: bool = False) -> tuple[int, str]:
    left = iter(rounds)
    monkeypatch.setattr(dns_check, "open_site", lambda path: path)
    monkeypatch.setattr(dns_check, "check_site", lambda _, __: next(left))
    status = dns_check._watch(Path("x"), (), 5, as_json=as_json, pause=_EndOfRounds(len(rounds)))
    return status, capsys.readouterr().out


def test_watching_shows_all_of_it_first_and_then_only_what_changed(monkeypatch, capsys):
    later = replace(GOOD, sentence="as wanted at ns1, ns2")  # well before, well now: no news
    healed = replace(BAD, state=State.OK, sentence="as wanted at ns1", remedy="")
    rounds = [GOOD, BAD, DARK], [later, BAD, DARK], [later, healed, DARK]
    status, out = watched(monkeypatch, capsys, *rounds)
    first, rest = out.split("1 ok, 1 fault, 1 unknown\n")
    assert "  ok      MX" in first
    assert [line for line in rest.splitlines() if "example" in line] == [
        "ok      a.example. SPF: as wanted at ns1"
    ]
    assert status == 3  # of the last round


def test_watching_as_json_is_a_verdict_a_line(monkeypatch, capsys):
    worse = replace(DARK, state=State.FAULT, sentence="ns2 is lame")
    status, out = watched(monkeypatch, capsys, [GOOD, DARK], [GOOD, worse], as_json=True)
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["ok", "unknown", "fault"]
    assert status == 1


def test_a_verdict_that_was_not_there_before_is_news():
    assert dns_check.changed([GOOD], [GOOD, DARK]) == [DARK]
    assert dns_check.changed([GOOD, DARK], []) == []
    other = replace(BAD, sentence="2 SPF records instead of one")
    assert dns_check.changed([BAD], [other]) == [other]


def test_a_fault_whose_place_is_gone_is_news_and_known_no_longer():
    (gone,) = dns_check.changed([GOOD, BAD], [GOOD])
    assert (gone.what, gone.state, gone.remedy) == ("SPF", State.UNKNOWN, "")
    assert gone.sentence == "is judged no longer; before: no SPF records instead of one"


def test_watching_goes_on_after_a_round_that_cannot_be_made(monkeypatch, capsys):
    rounds = iter([[BAD], DnsError("half saved"), DnsError("half saved"), [GOOD], DnsError("half saved")])

    def check_site(*_: object) -> list[Verdict]:
        found = next(rounds)
        if isinstance(found, DnsError):
            raise found
        return found

    monkeypatch.setattr(dns_check, "open_site", lambda path: path)
    monkeypatch.setattr(dns_check, "check_site", check_site)
    status = dns_check._watch(Path("x"), (), 5, as_json=False, pause=_EndOfRounds(5))
    assert (status, capsys.readouterr().err.count("half saved\n")) == (0, 2)  # once for each time it begins


def test_watching_ends_with_an_error_where_it_cannot_begin(monkeypatch):
    def unreadable(_: Path) -> None:
        raise DnsError("no such file")

    monkeypatch.setattr(dns_check, "open_site", unreadable)
    with pytest.raises(DnsError):
        dns_check._watch(Path("x"), (), 5, as_json=False)


def test_ctrl_c_before_anything_is_known(monkeypatch):
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dns_check, "open_site", interrupted)
    assert dns_check._watch(Path("x"), (), 5, as_json=False) == 3


# Choosing


@pytest.fixture(name="chosen")
def chosen_fixture(site, monkeypatch):
    """What is checked under `--only`, without asking anybody: nobody is there."""
    monkeypatch.setattr("maildns.asking.authority.ATTEMPTS", 1)
    monkeypatch.setattr("maildns.asking.authority.TIMEOUT", 0.1)
    monkeypatch.setattr("mailwright.world.LIFETIME", 0.2)
    return lambda *only: list(check_site(site, only))


def test_only_takes_kinds_domains_hosts_and_machines(chosen):
    assert {v.kind for v in chosen("records")} == {"records"}
    assert {v.subject for v in chosen("parcelnote.example", "records")} == {
        "parcelnote.example.",
        "_dmarc.parcelnote.example.",
    }
    assert {v.subject for v in chosen("mx1", "spf")} == {"mx1.brightpost.example."}
    assert {v.kind for v in chosen("mx1.brightpost.example.")} >= {"records", "fcrdns", "spf"}


def test_only_something_that_is_not_checked_is_a_mistake(chosen):
    with pytest.raises(DnsError, match="nothing of that is checked; kinds are records, "):
        chosen("nowhere.example")


def test_whatever_cannot_be_asked_is_unknown(chosen):
    found = [v for v in chosen() if v.kind != "blocklists"]
    assert {v.state for v in found} == {State.UNKNOWN}, [v for v in found if v.state is not State.UNKNOWN]
    assert {v.kind for v in found} == KINDS.keys() - {"blocklists", "mta-sts", "tlsa", "dmarc"}


def test_a_lab_that_names_no_list_asks_none(site, chosen):
    assert blocklists.lists_of(Asking(site.fleet)) is None
    (verdict,) = chosen("blocklists")
    assert verdict.sentence.startswith("skipped: a lab asks no public list")
    public = site.fleet.model_copy(update={"lab": None})
    assert "zen.spamhaus.org." in {each.zone for each in blocklists.lists_of(Asking(public))}
    none = public.model_copy(update={"dns": public.dns.model_copy(update={"blocklists": ()})})
    assert blocklists.lists_of(Asking(none)) == ()


def test_anchors_are_the_roots_and_the_fleets_own_but_a_lab_has_no_root(site, tmp_path):
    file = tmp_path / "anchors"
    file.write_text(f"example. 0 IN DS 1 13 2 {'ab' * 32}\n")
    machine = site.fleet.machines[0].model_copy(update={"roles": {"unbound": {"trust_anchors": str(file)}}})
    lab = site.fleet.model_copy(update={"machines": (machine,)})
    assert World(lab).anchors.keys() == {"example."}
    assert World(lab).anchored("example.")
    assert World(lab.model_copy(update={"lab": None})).anchors.keys() == {".", "example."}
    file.write_text("example. 0 IN A 192.0.2.1\n")
    with pytest.raises(DnsError, match="no DS or DNSKEY record"):
        _ = World(lab).anchors
    assert not World(lab).anchored("example.")  # what is published is not lost for want of a file


@dataclass(frozen=True)
class _Server(Server):
    alive: bool = True

    def ask(self, name: str, type_: str) -> frozenset[str]:
        if not self.alive:
            raise AskError(f"{self} does not answer")
        values = {"NS": f"ns1.{name}", "A": "192.0.2.1"}
        return frozenset({values[type_]} if type_ in values else ())


def test_a_zone_is_known_while_any_of_its_servers_answers(site, monkeypatch):
    world = World(site.fleet)
    dead, alive = _Server("ns0.x.", "192.0.2.9", alive=False), _Server("ns1.x.", "192.0.2.1")
    monkeypatch.setattr(world, "_found", lambda _: iter([dead, alive]))
    assert world.servers("brightpost.example.") == (alive, dead)  # the dead one is somebody's finding
    monkeypatch.setattr(world, "_found", lambda _: iter([dead]))
    with pytest.raises(AskError, match="does not answer"):
        world.servers("parcelnote.example.")


def test_a_question_is_asked_once_and_a_failure_remembered():
    memo, asked = Memo(), []

    def fail() -> None:
        asked.append("x")
        raise DnsError("no")

    for _ in range(3):
        with pytest.raises(DnsError, match="no"):
            memo.get("x", fail)
    assert [memo.get("y", lambda: asked.append("y") or 1) for _ in range(3)] == [1, 1, 1]
    assert asked == ["x", "y"]
