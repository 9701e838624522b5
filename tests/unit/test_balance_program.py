"""Pins what HAProxy is told as it starts, and what a drain leaves on the disk; the lab has a real HAProxy."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "templates" / "haproxy" / "balance.py"
CONFIG = {
    "addresses": ["203.0.113.100"],
    "health_port": 10024,
    "check_seconds": 2.5,
    "servers": [
        {"pool": "out", "serves": 587, "backend": "out-587", "member": m, "address": a, "port": 10587}
        for m, a in (("m1", "203.0.113.21"), ("m2", "203.0.113.22"))
    ],
}


@pytest.fixture
def balance(tmp_path, monkeypatch):
    """The program, with a balancer's files below a folder and a HAProxy that does not run."""
    spec = importlib.util.spec_from_file_location("balance", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "balance.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(module, "CONFIG", tmp_path / "balance.json")
    monkeypatch.setattr(module, "DRAINED", tmp_path / "drained")
    monkeypatch.setattr(module, "STATES", tmp_path / "balance" / "servers")
    monkeypatch.setattr(module, "SOCKET", str(tmp_path / "no.sock"))
    return module


def told(balance):
    """The server state file: (backend, server) to its columns."""
    assert balance.main(["prepare"]) == 0
    version, head, *rows = balance.STATES.read_text().splitlines()
    names = head.removeprefix("# ").split()
    assert version == "1"
    found = [dict(zip(names, row.split(), strict=True)) for row in rows]
    return {(row["be_name"], row["srv_name"]): row for row in found}


def dump(balance, **columns):
    """What a running HAProxy says of m1's health check."""
    row = balance.FRESH | {
        "be_name": "health",
        "srv_name": "m1",
        "srv_addr": "203.0.113.21",
        "srv_port": "10024",
    }
    row |= {"srv_op_state": "0", "srv_check_status": "8", "srv_check_health": "0"} | columns
    line = " ".join(row[name] for name in balance.COLUMNS)
    return f"1\n# {' '.join(balance.COLUMNS)}\n{line}"


def test_a_start_knows_every_server_as_up_until_it_is_checked(balance):
    servers = told(balance)
    assert set(servers) == {("health", "m1"), ("health", "m2"), ("out-587", "m1"), ("out-587", "m2")}
    assert {row["srv_op_state"] for row in servers.values()} == {"2"}
    assert {row["srv_admin_state"] for row in servers.values()} == {"0"}
    second = servers["out-587", "m2"]
    assert (second["srv_addr"], second["srv_port"]) == ("203.0.113.22", "10587")


def test_a_drain_is_on_the_disk_though_haproxy_does_not_run(balance, capsys):
    assert balance.main(["drain", "m1", "a new", "disk"]) == 1
    assert capsys.readouterr().err.startswith("mailwright-balance: HAProxy does not answer at ")
    assert balance.drained()["m1"].endswith("Z a new disk")
    servers = told(balance)
    assert servers["health", "m1"]["srv_admin_state"] == "8"
    assert servers["health", "m2"]["srv_admin_state"] == "0"


def test_a_reload_keeps_who_is_down(balance, monkeypatch):
    monkeypatch.setattr(balance, "ask", lambda _: dump(balance))
    row = told(balance)["health", "m1"]
    assert (row["srv_op_state"], row["srv_check_status"], row["srv_check_health"]) == ("0", "8", "0")


@pytest.mark.parametrize(
    "past",
    [{"srv_addr": "203.0.113.99"}, {"srv_port": "10025"}, {"srv_check_status": "0"}, {"be_name": "old"}],
)
def test_a_reload_brings_nothing_of_the_past_back(balance, monkeypatch, past):
    monkeypatch.setattr(balance, "ask", lambda _: dump(balance, **past))
    row = told(balance)["health", "m1"]
    assert (row["srv_addr"], row["srv_port"], row["srv_op_state"]) == ("203.0.113.21", "10024", "2")
    assert row["srv_check_status"] == "1"


def test_a_drain_that_somebody_forced_elsewhere_is_not_kept(balance, monkeypatch):
    monkeypatch.setattr(balance, "ask", lambda _: dump(balance, srv_admin_state="8"))
    assert told(balance)["health", "m1"]["srv_admin_state"] == "0"


def test_undrain_waits_for_a_whole_round_of_checks(balance, monkeypatch):
    said, clock = [], iter(range(100))
    answers = iter(["L4CON", "L7OK", "L4CON", *["L7OK"] * 10])

    def ask(command, **_):
        said.append(command)
        if not command.startswith("show stat"):
            return ""
        return f"# pxname,svname,status,check_status,last_chk\nhealth,m1,DRAIN,{next(answers)},\n"

    monkeypatch.setattr(balance, "ask", ask)
    monkeypatch.setattr(balance.time, "sleep", lambda _: None)
    monkeypatch.setattr(balance.time, "monotonic", lambda: next(clock))
    balance.write(balance.DRAINED / "m1", "2026-01-01T00:00:00Z\n")
    assert balance.main(["undrain", "m1"]) == 0
    # Three that do not count, then as many as a round of 2.5 seconds takes, one a second.
    assert said == ["show stat -1 4 -1"] * (3 + 4) + ["set server health/m1 state ready"]
    assert balance.drained() == {}


def test_a_member_whose_check_fails_stays_drained(balance, monkeypatch, capsys):
    monkeypatch.setattr(balance, "PATIENCE", 0)
    monkeypatch.setattr(
        balance,
        "ask",
        lambda _: '# pxname,svname,status,check_status,last_chk\nhealth,m1,DOWN,L4CON,"Refused, twice"\n',
    )
    balance.write(balance.DRAINED / "m1", "2026-01-01T00:00:00Z\n")
    assert balance.main(["undrain", "m1"]) == 1
    assert capsys.readouterr().err == (
        "mailwright-balance: m1 stays drained, its health check does not pass: DOWN L4CON Refused, twice\n"
    )
    assert list(balance.drained()) == ["m1"]


def test_a_balancer_tells_its_keepalived_s_word_and_since_when_it_is_retired(balance, monkeypatch, capsys):
    monkeypatch.setattr(balance, "VRRP", balance.CONFIG.parent / "vrrp")
    monkeypatch.setattr(balance, "RETIRED", balance.CONFIG.parent / "retired")
    monkeypatch.setattr(balance, "established", dict)
    monkeypatch.setattr(balance, "held", list)
    rows = "".join(f"out-587,{m},UP,0,0,\n" for m in ("m1", "m2"))
    monkeypatch.setattr(balance, "ask", lambda _: f"# pxname,svname,status,scur,qcur,\n{rows}")
    balance.write(balance.VRRP / "out", "BACKUP 2026-01-01T00:00:00Z\n")

    def told():
        assert balance.main(["state"]) == 0
        state = json.loads(capsys.readouterr().out)
        return state["vrrp"], state["retired"], state["retired_since"][:2]

    assert told() == ({"out": "BACKUP"}, None, "")
    assert balance.main(["retire", "new", "disk"]) == 0
    assert told() == ({"out": "BACKUP"}, "new disk", "20")
    assert balance.main(["return"]) == 0
    assert told()[1] is None


def test_a_start_forgets_the_drains_of_who_is_no_member_any_more(balance):
    for name in ("m1", "m3"):
        balance.write(balance.DRAINED / name, "2026-01-01T00:00:00Z leaving the fleet\n")
    (balance.DRAINED / "lost+found").mkdir()
    (balance.DRAINED / ".m2.new").write_text("cut off")
    assert told(balance)["health", "m1"]["srv_admin_state"] == "8"
    assert list(balance.drained()) == ["m1"]


@pytest.mark.parametrize(
    ("address", "place"), [("203.0.113.21", "[203.0.113.21]"), ("2001:db8::21", "[2001:db8::21]")]
)
def test_a_cut_ends_what_processes_of_before_a_reload_carry(balance, monkeypatch, address, place):
    config = {**CONFIG, "servers": [CONFIG["servers"][0] | {"address": address}]}
    balance.CONFIG.write_text(json.dumps(config))
    said = []
    monkeypatch.setattr(balance, "ask", lambda command: said.append(command) or "")
    monkeypatch.setattr(balance.subprocess, "run", lambda argv, **_: said.append(argv))
    assert balance.main(["cut", "m1"]) == 0
    # Without brackets ss(8) takes the end of an IPv6 address for a port, and ends nothing.
    assert said == [
        "shutdown sessions server out-587/m1",
        ["ss", "-Kt", "dst", place, "dport", "=", "10587"],
    ]
