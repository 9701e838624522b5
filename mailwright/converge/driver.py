"""Run pyinfra in a process of its own and tell what happens: `python -m mailwright.converge.driver`.

pyinfra replaces the standard library's sockets and threads when it is imported (gevent), so the command
line does not import it but reads this process's standard output, one `Event` a line. The work is what
`pyinfra INVENTORY deploy.py` does, from the same two files, with two differences: a machine that cannot
be planned leaves the run alone instead of ending it for all, and the plan waits for consent with its
connections open instead of being computed twice.
"""

from __future__ import annotations

import pyinfra_cli  # noqa: F401 - patches the standard library: before everything else

# isort: split

import argparse
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

import gevent
import pyinfra
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operations import run_ops
from pyinfra.api.output import set_echo
from pyinfra.api.state import BaseStateCallback, State, StateStage
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.inventory import make_inventory
from pyinfra_cli.util import exec_file
from typing_extensions import override

from mailwright import hostkeys
from mailwright.converge.events import GO, Event, Kind
from mailwright.converge.inventory import FLEET_FILE, MACHINE, ROLES
from mailwright.model.errors import ConvergeError, HostKeyError
from mailwright.model.load import load_fleet

_SUMMARY = "Error: executed "
"""How pyinfra ends what it says about a failed operation: a count of commands, of no use to anybody."""


class Teller(BaseStateCallback, logging.Handler):
    """Turns pyinfra's callbacks and log lines into events on a stream."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`; whatever pyinfra says about an operation is kept until that operation is told."""
        logging.Handler.__init__(self, logging.INFO)
        self.out = out
        self.said: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.wrong: dict[str, list[str]] = defaultdict(list)
        self.began: dict[tuple[str, str], float] = {}
        self.seconds: dict[tuple[str, str], float] = {}
        self.changed_keys: list[str] = []
        """A sentence for each machine that shows another SSH host key than the pinned one."""

    def tell(self, kind: Kind, host: Host | None = None, **values: str | bool | float) -> None:
        """Write one event. A reader that has gone away does not stop a run half-way."""
        machine = host.name if host else ""
        try:
            self.out.write(Event(kind, machine, **values).line())  # type: ignore[arg-type]
            self.out.flush()
        except BrokenPipeError:
            self.out = Path(os.devnull).open("w")  # noqa: SIM115 - for the rest of the process

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.hear(record.getMessage())
        host: Host | None = ctx_host.get()
        if host is not None and record.levelno >= logging.ERROR:
            self.wrong[host.name].append(record.getMessage().removeprefix(host.print_prefix))

    def hear(self, message: object = None, **_: object) -> None:
        """Take what is said while an operation is planned or runs; the rest of pyinfra's talk is not ours."""
        host: Host | None = ctx_host.get()
        if host is None or message is None:
            return
        op_hash = host.executing_op_hash or host.current_op_hash or ""
        self.said[host.name, op_hash].append(str(message).removeprefix(host.print_prefix))

    def heard(self, host: Host, op_hash: str) -> str:
        """What was said since the last time somebody asked."""
        lines = self.said.pop((host.name, op_hash), [])
        return "\n".join(line for line in lines if not line.startswith(_SUMMARY))

    def objections(self, host: Host) -> str:
        """What operations found wrong while they were planned, each sentence once."""
        return "\n".join(dict.fromkeys(self.wrong.pop(host.name, [])))

    @override
    def host_connect(self, state: State, host: Host) -> None:  # type: ignore[override] # static in pyinfra
        self.tell("connected", host)

    @override
    def host_connect_error(self, state: State, host: Host, error: Exception) -> None:  # type: ignore[override]
        trouble = _trouble(host, str(error))
        if trouble and trouble.changed:
            self.changed_keys.append(str(trouble))
        self.tell("unreachable", host, text=str(trouble or error))

    @override
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        if op_hash in state.ops[host]:
            self.began[host.name, op_hash] = time.monotonic()
            self.tell("started", host, operation=_name(state, op_hash))

    @override
    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        self.seconds[host.name, op_hash] = self._since(host, op_hash)

    @override
    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        operation, seconds = _name(state, op_hash), self._since(host, op_hash)
        self.tell("failed", host, operation=operation, seconds=seconds, text=self.heard(host, op_hash))

    @override
    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        # Whether an operation changed anything is known only now: pyinfra completes it after its callbacks.
        for host in state.inventory:
            seconds = self.seconds.pop((host.name, op_hash), None)
            if seconds is not None:
                changed = state.ops[host][op_hash].operation_meta.did_change()
                operation = _name(state, op_hash)
                self.tell("finished", host, operation=operation, changed=changed, seconds=seconds)

    def _since(self, host: Host, op_hash: str) -> float:
        return time.monotonic() - self.began.pop((host.name, op_hash))


def _trouble(host: Host, error: str) -> HostKeyError | None:
    """What to say of a machine whose host key pyinfra refuses, or cannot ask anybody about.

    pyinfra asks at the terminal where it knows no key, and there is none here.
    """
    if not any(sign in error for sign in ("host key", "known_hosts", "EOF")):
        return None
    fleet = load_fleet(host.data.get(FLEET_FILE))
    try:
        return hostkeys.trouble(fleet.machine(host.data.get(MACHINE)))
    except HostKeyError:
        return None


def _name(state: State, op_hash: str) -> str:
    return ", ".join(sorted(state.op_meta[op_hash].names))


def main(arguments: Sequence[str] | None = None) -> int:
    """Plan, and unless `--dry` run what was planned once `GO` arrives. Exit 1: something failed."""
    parser = argparse.ArgumentParser(prog="mailwright.converge.driver")
    parser.add_argument("inventory")
    parser.add_argument("deploy")
    parser.add_argument("--machine", action="append", help="only these; default: all")
    parser.add_argument("--role", action="append", help="only what is theirs; default: everything")
    parser.add_argument("--dry", action="store_true")
    args = parser.parse_args(arguments)
    teller = Teller(_private_stdout())
    consent = _private_stdin()
    _listen(teller)
    state = State(check_for_changes=True)
    try:
        _start(state, teller, args.inventory, args.machine, args.role)
        _plan(state, teller, args.deploy)
        if state.active_hosts and not args.dry and _consent(teller, consent):
            state.set_stage(StateStage.Execute)
            run_ops(state)
    except Exception as error:  # noqa: BLE001 - the last resort of a process: told, not lost
        # When the last machine fails pyinfra gives up, and each of them has been told already.
        if not (isinstance(error, PyinfraError) and state.initialised and _nobody_left(state)):
            teller.tell("error", text=_why(error))
            return 1
    finally:
        if state.initialised:
            disconnect_all(state)
    teller.tell("ended")
    return 1 if state.failed_hosts else 0


def _nobody_left(state: State) -> bool:
    return bool(state.failed_hosts) and not state.active_hosts


def _private_stdout() -> TextIO:
    """Keep standard output for events; what anything else prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def _private_stdin() -> TextIO:
    """Keep standard input for consent; whatever else would ask the operator something, has no answer."""
    stdin = os.fdopen(os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    return stdin


def _listen(teller: Teller) -> None:
    # Without this pyinfra orders operations by their number on each machine and would run together
    # what two machines do with different roles; as a command line it orders them by the call stack.
    pyinfra.is_cli = True
    set_echo(teller.hear)
    pyinfra.logger.setLevel(logging.INFO)
    pyinfra.logger.addHandler(teller)
    pyinfra.logger.propagate = False


def _start(
    state: State, teller: Teller, inventory_file: str, machines: list[str] | None, roles: list[str] | None
) -> None:
    state.cwd = str(Path.cwd())
    sys.path.append(state.cwd)
    ctx_state.set(state)
    config = Config()
    config.DIFF = True
    ctx_config.set(config)
    config.lock_current_state()
    only = {ROLES: roles} if roles else {}
    inventory = make_inventory(inventory_file, override_data=only, cwd=state.cwd)
    ctx_inventory.set(inventory)
    limit = [inventory.get_host(name) for name in machines] if machines else None
    state.init(inventory, config, initial_limit=limit)
    state.add_callback_handler(teller)
    state.set_stage(StateStage.Connect)
    try:
        connect_all(state)
    finally:
        if teller.changed_keys:  # somebody may be in between: nothing is done to any machine
            raise ConvergeError("\n".join(teller.changed_keys))


def _plan(state: State, teller: Teller, deploy: str) -> None:
    state.set_stage(StateStage.Prepare)
    state.current_deploy_filename = deploy
    hosts = list(state.inventory.get_active_hosts())
    reasons = {host: state.pool.spawn(_prepare, state, host, deploy) for host in hosts}
    gevent.joinall(list(reasons.values()))
    for host in hosts:
        why, objections = reasons[host].get(), teller.objections(host)
        # A deploy that finds that it has the wrong machine takes it out of the run by itself.
        if why or objections or host in state.failed_hosts:
            teller.tell("refused", host, text=why or objections or "the deploy refused it")
            state.failed_hosts.add(host)
            state.active_hosts.discard(host)
            continue
        for op_hash in host.op_hash_order:
            changed = bool(state.ops[host][op_hash].operation_meta._maybe_is_change)  # noqa: SLF001 - as pyinfra_cli prints it
            text = teller.heard(host, op_hash)
            teller.tell("planned", host, operation=_name(state, op_hash), changed=changed, text=text)


def _prepare(state: State, host: Host, deploy: str) -> str | None:
    """Let deploy.py declare a machine's operations, in a greenlet of its own; say why it could not."""
    with ctx_config.use(state.config.copy()), ctx_host.use(host):
        try:
            exec_file(deploy)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this machine only
            return _why(error)
    return None


def _consent(teller: Teller, consent: TextIO) -> bool:
    teller.tell("ready")
    # In a thread of gevent's: while the operator reads the plan, the connections must stay alive.
    return cast("str", gevent.get_hub().threadpool.apply(consent.readline)) == GO


def _why(error: Exception) -> str:
    while isinstance(error, UnexpectedExternalError):
        error = error.exception
    if isinstance(error, PyinfraError) or type(error).__module__.startswith("mailwright"):
        return str(error)
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
