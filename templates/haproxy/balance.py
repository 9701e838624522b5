#!/usr/bin/python3 -IS
"""mailwright-balance: which members of the pools take new sessions here. Written by mailwright.

  mailwright-balance state                 what this balancer holds and serves, as JSON
  mailwright-balance drain MEMBER [WHY]    no new sessions to MEMBER; those that it has go on
  mailwright-balance undrain MEMBER        back again, once its health check has passed for a while
  mailwright-balance cut MEMBER            end the sessions that MEMBER has
  mailwright-balance retire [WHY]          leave the virtual addresses to other balancers
  mailwright-balance return                hold them again, when it is this one's turn
  mailwright-balance prepare               what HAProxy reads as it starts (for its unit)

A drained member is a file in /var/lib/mailwright/drained. HAProxy learns of it by its runtime socket, and
from a server state file whenever it starts or reloads, before it takes a connection. That this balancer is
retired stands in a file that keepalived tracks. Exit status: 0 done, 1 not, with one line that says why.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SOCKET = "/run/haproxy/admin.sock"
CONFIG = Path("/etc/mailwright/balance.json")
DRAINED = Path("/var/lib/mailwright/drained")
RETIRED = Path("/var/lib/mailwright/retired")
"""1 or 0: keepalived tracks it, and gives the addresses up at once (keepalived.conf(5), track_file)."""
VRRP = Path("/run/mailwright/vrrp")
"""A file for each pool: MASTER, BACKUP, FAULT or STOP, as keepalived has said last, and since when."""
STATES = Path("/var/lib/mailwright/balance/servers")
HEALTH = "health"
"""The backend whose servers are checked; those of the pools track them, drains included."""
PATIENCE = 30.0
"""Seconds that `undrain` waits for the health check."""

# "show servers state" (management.txt 9.3): one line a server, in these columns.
COLUMNS = (
    *("be_id", "be_name", "srv_id", "srv_name", "srv_addr", "srv_op_state", "srv_admin_state", "srv_uweight"),
    *(
        "srv_iweight",
        "srv_time_since_last_change",
        "srv_check_status",
        "srv_check_result",
        "srv_check_health",
    ),
    *("srv_check_state", "srv_agent_state", "bk_f_forced_id", "srv_f_forced_id", "srv_fqdn", "srv_port"),
    *("srvrecord", "srv_use_ssl", "srv_check_port", "srv_check_addr", "srv_agent_addr", "srv_agent_port"),
)
FORCED_DRAIN = 0x08
FRESH = {
    # A server as it is when HAProxy knows nothing of it: up, unchecked, of full weight.
    **dict.fromkeys(COLUMNS, "-"),
    **dict.fromkeys(("be_id", "srv_id", "srv_uweight", "srv_iweight"), "1"),
    **dict.fromkeys(COLUMNS[9:13], "0"),
    **dict.fromkeys(("srv_admin_state", "srv_agent_state", "bk_f_forced_id", "srv_f_forced_id"), "0"),
    **dict.fromkeys(("srv_use_ssl", "srv_check_port", "srv_agent_port"), "0"),
    "srv_op_state": "2",
    "srv_check_status": "1",  # INI. With 0, which is no status, HAProxy never takes the result of a check
    "srv_check_health": "1",
    "srv_check_state": "6",
}


class BalanceError(Exception):
    """What cannot be done, in one line."""


def ask(command: str) -> str:
    """Say a command to HAProxy's runtime socket; returns its answer without the final empty line."""
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5.0)
            channel.connect(SOCKET)
            channel.sendall(f"{command}\n".encode())
            answer = b"".join(iter(lambda: channel.recv(65536), b""))
    except OSError as error:
        raise BalanceError(f"HAProxy does not answer at {SOCKET}: {error.strerror or error}") from None
    return answer.decode().rstrip("\n")


def table(answer: str) -> list[dict[str, str]]:
    """The rows of "show stat" (CSV) by their columns."""
    return list(csv.DictReader(answer.removeprefix("# ").splitlines()))


def servers() -> list[dict[str, str]]:
    """What HAProxy says of each server."""
    return [row for row in table(ask("show stat -1 4 -1")) if row.get("svname")]


def config() -> dict[str, Any]:
    """The addresses and servers that the fleet file gives this balancer."""
    read: dict[str, Any] = json.loads(CONFIG.read_text())
    return read


def drained() -> dict[str, str]:
    """The drained members, since when, and why."""
    notes = (file for file in sorted(DRAINED.glob("[!.]*")) if file.is_file())
    return {file.name: file.read_text(errors="replace").strip() for file in notes}


def forget_strangers(members: set[str]) -> None:
    """Who is no member any more is not drained either: who comes back under its name begins anew."""
    for member in drained().keys() - members:
        (DRAINED / member).unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Exchange a file's whole content, so that it survives the loss of power."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Put a folder's entries on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def state() -> None:
    """Print what this balancer holds and serves."""
    wanted = config()
    rows = {(row["pxname"], row["svname"]): row for row in servers()}
    listed = drained()
    carried = established()
    found = []
    for server in wanted["servers"]:
        row = rows.get((server["backend"], server["member"]))
        if row is None:
            raise BalanceError(f"HAProxy knows no {server['backend']}/{server['member']}: it needs a reload")
        sessions = max(int(row["scur"]), carried.get((server["address"], server["port"]), 0))
        found.append(
            {
                "pool": server["pool"],
                "port": server["serves"],
                "member": server["member"],
                "status": row["status"].split()[0],
                "check": rows.get((HEALTH, server["member"]), {}).get("check_status", ""),
                "sessions": sessions,
                "queue": int(row["qcur"]),
                "drained": server["member"] in listed,
                "why": listed.get(server["member"], "").partition(" ")[2],
            }
        )
    itself = {
        "holds": held(wanted["addresses"]),
        "vrrp": vrrp({server["pool"] for server in wanted["servers"]}),
        "retired": retired(),
        "retired_since": retirement().partition(" ")[0],
    }
    print(json.dumps({**itself, "drained": listed, "servers": found}, indent=1))


def established() -> dict[tuple[str, int], int]:
    """Open connections by where they lead: processes of before a reload have sessions as well."""
    states = [word for name in ("syn-sent", "established", "close-wait") for word in ("state", name)]
    done = subprocess.run(["ss", "-Htn", *states], capture_output=True, text=True, check=True)
    count: dict[tuple[str, int], int] = {}
    for line in done.stdout.splitlines():
        address, _, port = line.split()[4].rpartition(":")
        place = (address.strip("[]"), int(port))
        count[place] = count.get(place, 0) + 1
    return count


def held(addresses: list[str]) -> list[str]:
    """Those of the virtual addresses that this machine has now."""
    done = subprocess.run(["ip", "-json", "address", "show"], capture_output=True, text=True, check=True)
    own = {info["local"] for link in json.loads(done.stdout) for info in link["addr_info"] if "local" in info}
    return [address for address in addresses if address in own]


def vrrp(pools: set[str]) -> dict[str, str]:
    """What keepalived says of each pool's addresses here."""
    files = {pool: VRRP / pool for pool in sorted(pools)}
    return {pool: file.read_text().partition(" ")[0] for pool, file in files.items() if file.is_file()}


def drain(member: str, *why: str) -> None:
    """Note the member first: should HAProxy be down, it starts with the drain."""
    known(member)
    if why or member not in drained():
        write(DRAINED / member, noted(why))
    tell(member, "drain")


def noted(why: tuple[str, ...]) -> str:
    """Since when something is so, and the reason that was given, in one line."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return " ".join((now, *" ".join(why).split())) + "\n"


def undrain(member: str) -> None:
    """`ready` alone would send clients to a member that nobody has checked."""
    known(member)
    if member in drained() or member_row(member)["status"].split()[0] != "UP":
        await_health(member)
        tell(member, "ready")
        (DRAINED / member).unlink(missing_ok=True)
        sync(DRAINED)


def cut(member: str) -> None:
    """End the sessions of a member, those that processes of before a reload carry as well."""
    known(member)
    mine = [server for server in config()["servers"] if server["member"] == member]
    for server in mine:
        if answer := ask(f"shutdown sessions server {server['backend']}/{member}"):
            raise BalanceError(f"HAProxy: {answer}")
    for server in mine:
        # In brackets, or ss(8) takes the end of an IPv6 address for a port.
        place = ["dst", f"[{server['address']}]", "dport", "=", str(server["port"])]
        subprocess.run(["ss", "-Kt", *place], capture_output=True, check=False)


def retired() -> str | None:
    """Why this balancer leaves the virtual addresses to others; nothing while it does not."""
    if not RETIRED.exists() or RETIRED.read_text().strip() in ("", "0"):
        return None
    return retirement().partition(" ")[2]


def retirement() -> str:
    """Since when it is so or was last, and why."""
    reason = RETIRED.with_suffix(".why")
    return reason.read_text().strip() if reason.exists() else ""


def retire(*why: str) -> None:
    """Note the reason first: who finds the balancer retired finds it, too."""
    write(RETIRED.with_suffix(".why"), noted(why))
    write(RETIRED, "1\n")


def come_back() -> None:
    """Take part again."""
    write(RETIRED, "0\n")


def known(member: str) -> None:
    """Refuse what is no member of a pool here."""
    members = sorted({server["member"] for server in config()["servers"]})
    if member not in members:
        raise BalanceError(
            f"{member} is no member of a pool that this machine balances: {', '.join(members)}"
        )


def tell(member: str, word: str) -> None:
    """Change a member's state: the servers of the pools inherit it from the one that they track."""
    if answer := ask(f"set server {HEALTH}/{member} state {word}"):
        raise BalanceError(f"HAProxy: {answer}")


def member_row(member: str) -> dict[str, str]:
    """What HAProxy says of the server that it checks for a member."""
    row = next((r for r in servers() if (r["pxname"], r["svname"]) == (HEALTH, member)), None)
    if row is None:
        raise BalanceError(f"HAProxy does not check {member}: it needs a reload")
    return row


def await_health(member: str) -> None:
    """Wait until every check of a whole round passes: the last answer may be older than the trouble."""
    around = float(config()["check_seconds"])
    end, since = time.monotonic() + PATIENCE, None
    while True:
        now = time.monotonic()
        row = member_row(member)
        passed = row["check_status"].endswith("L7OK") and row["status"].split()[0] in ("UP", "DRAIN")
        since = (now if since is None else since) if passed else None
        if since is not None and now - since >= around:
            return
        if now > end:
            why = " ".join((row["status"], row["check_status"], row["last_chk"])).strip()
            raise BalanceError(f"{member} stays drained, its health check does not pass: {why}")
        time.sleep(0.2)


def prepare() -> None:
    """Write the server state file: the servers of the configuration with their health, drained where listed.

    HAProxy's own dump would bring addresses of the past back (load-server-state-from-file), so that only
    the health is taken from it, of servers that are where they were.
    """
    dump = {}
    with contextlib.suppress(BalanceError):  # it does not run: it is being started
        for line in ask("show servers state").splitlines():
            row = dict(zip(COLUMNS, line.split(), strict=False))
            if row.get("srv_check_status") == "0":
                continue
            dump[row.get("be_name"), row.get("srv_name"), row.get("srv_addr"), row.get("srv_port")] = row
    wanted = config()
    forget_strangers({server["member"] for server in wanted["servers"]})
    out = drained()
    lines = ["1", f"# {' '.join(COLUMNS)}"]
    checked = {(s["member"], s["address"]): wanted["health_port"] for s in wanted["servers"]}
    places = [(HEALTH, member, address, port) for (member, address), port in checked.items()]
    places += [(s["backend"], s["member"], s["address"], s["port"]) for s in wanted["servers"]]
    for backend, member, address, port in places:
        row = FRESH | dump.get((backend, member, address, str(port)), {})
        row |= {"be_name": backend, "srv_name": member, "srv_addr": address, "srv_port": str(port)}
        row["srv_admin_state"] = str(FORCED_DRAIN if backend == HEALTH and member in out else 0)
        lines.append(" ".join(row[column] for column in COLUMNS))
    write(STATES, "".join(f"{line}\n" for line in lines))


def main(words: list[str]) -> int:
    """Do what the command line says."""
    alone = {"state": state, "prepare": prepare, "return": come_back}
    of_member = {"undrain": undrain, "cut": cut}
    try:
        match words:
            case [verb] if verb in alone:
                alone[verb]()
            case [verb, member] if verb in of_member:
                of_member[verb](member)
            case ["drain", member, *why]:
                drain(member, *why)
            case ["retire", *why]:
                retire(*why)
            case _:
                print(__doc__, file=sys.stderr if words not in (["--help"], ["-h"]) else sys.stdout)
                return 0 if words in (["--help"], ["-h"]) else 1
    except (BalanceError, OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        print(f"mailwright-balance: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
