"""pyinfra without a network: machines that answer the observation script, and count what they are asked."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.connectors.fake import FakeConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra.context import ctx_config, ctx_host, ctx_state

from mailwright.converge import deploy, inventory
from mailwright.converge.recording import NAME
from mailwright.converge.sysctls import needs as sysctl_needs
from mailwright.converge.users import keys
from mailwright.drift.places import RECORD
from mailwright.model.errors import SecretError
from mailwright.model.fleet import Fleet
from mailwright.model.needs import merge
from mailwright.model.site import Site
from mailwright.observe.script import FOOTER, HEADER
from mailwright.observe.state import key_of_test

LONG_AGO, STARTED, NOW = 1_000_000_000, 1_500_000_000, 1_600_000_000


@dataclass
class Machine:
    """What a pretend machine is like, and what it was asked. `met`: it is all that its needs say."""

    needs: object = None
    met: bool = True
    debian: str = "12"
    uid: int = 0
    tests: dict = field(default_factory=dict)
    newer: set = field(default_factory=set)
    """Paths that changed after the units started."""
    recorded: bool = True
    """Whether it has the record of the last run, and no run has changed it since."""
    learns: bool = True
    """Whether a command that changes it makes it all that its needs say."""
    files: dict = field(default_factory=dict)
    """For `--diff`: path to content."""
    fails: dict = field(default_factory=dict)
    """Title to the output of a command that fails."""
    says: tuple = ()
    """What every change prints."""
    asked: list = field(default_factory=list)
    """The titles of the commands, in order."""
    scripts: list = field(default_factory=list)
    """Their texts."""
    commands: list = field(default_factory=list)
    """What shows in the host's process list."""

    def answer(self, title, text):
        """Return (ok, lines of output)."""
        self.asked.append(title)
        self.scripts.append(text)
        if title == "look":
            return True, self._observation(text)
        if title == "diff":
            return True, ["file " + line for line in self._contents(text)]
        if title in self.fails:
            return False, self.fails[title]
        self.recorded = title == NAME
        if self.learns:
            self.met, self.newer = True, set()
        return True, self.says

    def _contents(self, text):
        for path in re.findall(r"base64 -w 0 (\S+)", text):
            yield base64.b64encode(self.files.get(path, b"")).decode()

    def _observation(self, text):
        yield from (HEADER, f"clock {NOW}.5", f"uptime {NOW - LONG_AGO}.0", f"uid {self.uid}")
        yield from ("release ID=debian", f'release VERSION_ID="{self.debian}"')
        yield f"path d root root 755 {LONG_AGO}.0 {LONG_AGO}.0 /"
        yield from self._state() if self.met else ()
        for setting in self.needs.sysctls:
            value = setting.value if self.met else "other"
            yield from (f"sysctl {setting.key} w", f"/proc/sys/{setting.key.replace('.', '/')}:{value}")
        yield from (f"test {key_of_test(t)} {0 if ok else 1}" for t, ok in self.tests.items())
        due = re.search(rf"{RECORD}.*?echo 'test (\w+) 0'", text)
        yield f"test {due[1]} {0 if self.recorded else 1}" if due else ""
        yield FOOTER

    def _state(self):
        needs = self.needs
        files = merge([needs, keys(needs.users), sysctl_needs(needs.sysctls)])
        for d in files.directories:
            yield f"path d {d.owner} {d.group} {d.mode:o} {LONG_AGO}.0 {LONG_AGO}.0 {d.path}"
        for f in files.files:
            time = NOW if f.path in self.newer else LONG_AGO
            yield f"path f {f.owner} {f.group} {f.mode:o} {time}.0 {time}.0 {f.path}"
            yield f"{hashlib.sha256(f.content).hexdigest()}  {f.path}"
        yield from (f"package ii |{p.name}|1.0" for p in needs.packages)
        for n, u in enumerate(needs.users):
            yield f"passwd {u.name}:x:{u.uid or n}:{u.gid or n}::{u.home}:{u.shell}"
            yield f"group {u.primary_group}:x:{u.gid or n}:"
            yield from (f"group {g}:x:{900 + n}:{u.name}" for g in u.groups)
        yield "units"
        for u in needs.units:
            yield from self._unit(u)
            yield ""
        yield "units-end"

    def _unit(self, u):
        started = STARTED - LONG_AGO
        yield from (f"Names={u.name}", "LoadState=loaded", "NeedDaemonReload=no", "Result=success")
        yield f"ActiveState={'active' if u.running and not u.masked else 'inactive'}"
        yield f"UnitFileState={'masked' if u.masked else 'enabled' if u.enabled else 'disabled'}"
        yield f"InactiveExitTimestampMonotonic={started}000000"
        yield "InactiveExitTimestamp=Fri 2017-07-14 02:40:00.000000 UTC"


@pytest.fixture
def pretend():
    """The class of pretend machines."""
    return Machine


class PretendConnector(FakeConnector):
    """pyinfra's fake connector, answering through a `Machine` instead of a table."""

    def run_shell_command(self, command, **arguments):
        machine = self.host.data.get("pretend")["machine"]
        machine.commands.append(command.get_raw_value())
        title = machine.commands[-1].rpartition("# mailwright ")[2]
        ok, lines = machine.answer(title, arguments.get("_stdin") or "")
        lines = list(lines)
        if arguments.get("print_output"):
            logging.getLogger("pyinfra").info("%s", lines)
        return ok, CommandOutput([OutputLine("stdout", line) for line in lines])


class Secrets:
    """Secrets from a dictionary."""

    def __init__(self, values):
        self.values = values

    def get(self, name):
        if name not in self.values:
            raise SecretError(f"no secret {name}")
        return self.values[name]

    def names(self):
        return tuple(self.values)


@dataclass
class Run:
    """A finished run."""

    state: State
    log: str

    def changed(self, name):
        """The operations that changed (or, in a dry run, would change) a machine."""
        host = self.state.inventory.get_host(name)
        ops = ((h, self.state.ops[host][h].operation_meta) for h in host.op_hash_order)
        return [next(iter(self.state.op_meta[h].names)) for h, meta in ops if self._changes(meta)]

    def _changes(self, meta):
        if self.state.is_executing:
            return meta.is_complete() and meta.did_change()
        return meta.will_change

    @property
    def failed(self):
        return sorted(h.name for h in self.state.failed_hosts)


def fleet_of(roles, machines, ssh_user):
    """A fleet in which each machine has the roles it is to use."""
    entries = [
        {
            "name": name,
            "fqdn": f"{name}.mailbox.example",
            "debian": 12,
            "ipv4": f"203.0.113.{n}",
            "roles": {r.name: {} for r in roles if used is None or r.name in used},
            "ssh": {"user": ssh_user},
        }
        for n, (name, (_, used)) in enumerate(machines.items(), start=1)
    ]
    owner = {"name": "Test", "postmaster": "postmaster@mailbox.example"}
    return Fleet.model_validate({"owner": owner, "machines": entries})


def connected(site, machines, config, only=None, **options):
    """pyinfra's state with a connection to each pretend machine."""
    hosts = []
    for machine in site.fleet.machines:
        pretend = machines[machine.name][0]
        pretend.needs = pretend.needs or site.plan(machine).merged
        data = inventory.host_data(machine, "x.yaml") | {"pretend": {"machine": pretend}}
        hosts.append((machine.name, data))
    everybody = Inventory((hosts, {}), override_data={inventory.ROLES: only} if only else {})
    for host in everybody:
        host.connector_cls = PretendConnector
    state = State(**options)
    state.init(everybody, config)
    return state


def go(state, config, roles, *, dry):
    """What the `pyinfra` command does with a deploy file that calls deploy(roles)."""
    with ctx_state.use(state), ctx_config.use(config):
        state.set_stage(StateStage.Connect)
        connect_all(state)
        state.set_stage(StateStage.Prepare)
        for host in list(state.inventory.get_active_hosts()):
            with ctx_host.use(host):
                deploy.deploy(roles)
        if not dry:
            state.set_stage(StateStage.Execute)
            with suppress(PyinfraError):  # "No hosts remaining!" ends a run in which all failed
                run_ops(state)


@pytest.fixture
def pyinfra(monkeypatch, caplog):
    """Returns a function: roles, and {name: (pretend machine, its roles or None for all)}, to a run."""
    caplog.set_level(logging.DEBUG)

    def run(
        roles,
        machines,
        *,
        dry=False,
        yes=False,
        diff=False,
        verbose=0,
        secrets=None,
        ssh_user="root",
        only=None,
    ):
        site = Site(fleet_of(roles, machines, ssh_user), roles, Secrets(secrets or {}))
        monkeypatch.setattr(deploy, "site_of", lambda _file, _roles: site)
        config = Config(DIFF=diff)
        state = connected(site, machines, config, only, check_for_changes=not yes)
        state.print_noop_info = verbose > 0
        state.print_input = state.print_output = state.print_fact_output = verbose > 1
        caplog.clear()
        go(state, config, roles, dry=dry)
        return Run(state, caplog.text)

    return run


@dataclass
class Sandbox:
    """A folder in which scripts for hosts run for real, by this machine's own shell, without being root."""

    root: Path
    calls: Path

    @property
    def me(self):
        """The owner and group of what is made here."""
        return {"owner": self.root.owner(), "group": self.root.group()}

    def path(self, name):
        return str(self.root / "host" / name)

    def pretend(self, name, body):
        """Put a program of that name before the real one; it notes its arguments."""
        program = self.root / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls}\n{body}\n')
        program.chmod(0o755)

    def run(self, text, *, shell="sh"):
        """Run shell text of an operation; mailwright's own places are inside the sandbox."""
        for place in ("/run/mailwright", "/var/lib/mailwright", "/usr/sbin/policy-rc.d"):
            text = text.replace(place, f"{self.root}{place}")
        head = f"""set -eu
umask 022
PATH={self.root}/bin:$PATH
fail() {{ printf '%s\\n' "$*" >&2; exit 1; }}
"""
        command = [shell, "-c", 'eval "$(cat)"']
        return subprocess.run(
            command, input=f"{{ {head}{text}\nexit 0\n}}", capture_output=True, text=True, check=False
        )

    def called(self):
        """What the pretend programs were called with, in order."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def tree(self):
        """Everything on the pretend host: path to content (None for a folder) and mode."""
        host = self.root / "host"
        return {
            str(p.relative_to(host)): (
                None if p.is_dir() else p.read_bytes(),
                stat.S_IMODE(p.lstat().st_mode),
            )
            for p in sorted(host.rglob("*"))
        }

    def leftovers(self):
        return [p for p in self.root.rglob("*") if p.name.endswith(".mailwright") or p.name == "stage"]


@pytest.fixture
def sandbox(tmp_path):
    """A place to run scripts in."""
    for name in ("host", "bin", "run/mailwright", "var/lib/mailwright", "usr/sbin"):
        (tmp_path / name).mkdir(parents=True)
    return Sandbox(tmp_path, tmp_path / "calls")
