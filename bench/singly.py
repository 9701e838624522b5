"""The checks of a verification as users of pytest-testinfra write them: a test each, with the calls it takes.

Made from the same expectations, so that nothing is left out by hand. Where ours judges more than testinfra
has a call for, the peer is given less to do, never more: of a command it judges the exit status alone, of a
unit not whether it runs on what lies on the disk, and nothing from outside.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mailwright.model.fleet import Machine
from mailwright.model.needs import Absent, Directory, File, Package, Port, Sysctl, Unit, User
from mailwright.model.site import MachinePlan
from mailwright.verify.expectation import Evidence, Expectation, Joint
from mailwright.verify.sockets import Listener

Calls = tuple[str, ...]
"""The statements of a test; none: testinfra has no call for it."""

_IPV4 = 4


def written(
    plan: MachinePlan, expected: Iterable[Expectation | Joint], evidence: Evidence
) -> dict[str, Calls]:
    """The calls of each check of a machine that is as it should be, by the check's name.

    What the machine lets nobody ask (a kernel setting that a container has not) is taken from `evidence`.

    Raises:
        RuntimeError: a check is of a kind that is not written here.
    """
    known = dict(_of_needs(plan, evidence)) | dict(_of_machine(plan))
    found: dict[str, Calls] = {}
    for one in expected:
        if isinstance(one, Expectation) and one.visits:
            found[one.name] = ()
        elif one.name in known:
            found[one.name] = known[one.name]
        elif one.command is not None:
            found[one.name] = (_command(one.command, evidence.result(one.name).status),)
        else:
            raise RuntimeError(f"{one.id}: nobody has said how testinfra asks that")
    return found


def module(host: str, calls: Mapping[str, Calls]) -> str:
    """A test module for one host, with a test for each check that has calls."""
    tests = (
        f"def test_{number}_{re.sub(r'[^a-z0-9]+', '_', name.lower())}(host):\n"
        + "".join(f"    {line}\n" for line in lines)
        for number, (name, lines) in enumerate(calls.items())
        if lines
    )
    return "\n\n".join([f'testinfra_hosts = ["ssh://{host}"]\n', *tests])


def ssh_config(machines: Iterable[Machine], sockets: Path) -> str:
    """What OpenSSH's client is to know of the machines, by their names.

    testinfra keeps connections by itself (`ControlMaster`, `ControlPersist`), but only who names a
    `ControlPath` has anything of it.
    """
    common = f"Host *\n  BatchMode yes\n  LogLevel ERROR\n  ControlPath {sockets}/%C\n"
    return "\n".join([*map(_host, machines), common])


def _host(machine: Machine) -> str:
    ssh = machine.ssh
    lines = {
        "HostName": machine.ssh_address,
        "Port": ssh.port,
        "User": ssh.user,
        "IdentityFile": ssh.key,
        "UserKnownHostsFile": ssh.known_hosts,
    }
    said = "".join(f"  {key} {value}\n" for key, value in lines.items() if value)
    return f"Host {machine.name}\n{said}"


def _command(command: str, status: int) -> str:
    if status == 0:
        return f"host.check_output({command!r})"
    return f"host.run_expect([{status}], {command!r})"


def _of_machine(plan: MachinePlan) -> Iterator[tuple[str, Calls]]:
    ports = sorted({port.number for port in plan.merged.ports if port.proto == "tcp"})
    yield (
        "release",
        (
            'assert host.system_info.distribution == "debian"',
            f'assert host.system_info.release.split(".")[0] == "{plan.machine.debian}"',
        ),
    )
    yield "packages-whole", ('assert host.check_output("dpkg --audit") == ""',)
    yield (
        "listeners",
        (
            'found = [s for s in host.socket.get_listening_sockets() if s.startswith("tcp://")]',
            f'assert {{int(s.rsplit(":", 1)[1]) for s in found}} <= {{{", ".join(map(str, ports))}}}',
        ),
    )


def _of_needs(plan: MachinePlan, evidence: Evidence) -> Iterator[tuple[str, Calls]]:
    ways: tuple[tuple[str, str, Callable[[Any, Evidence], Calls]], ...] = (
        ("packages", "package-{0.name}", _package),
        ("users", "user-{0.name}", _user),
        ("directories", "directory-{0.path}", _directory),
        ("files", "file-{0.path}", _file),
        ("absent", "absent-{0.path}", _absent),
        ("sysctls", "sysctl-{0.key}", _sysctl),
        ("units", "unit-{0.name}", _unit),
    )
    for kind, name, way in ways:
        for need in getattr(plan.merged, kind):
            yield name.format(need), way(need, evidence)
    for needs in plan.by_role.values():
        for port in needs.ports:
            if port.proto == "vrrp" or port.brief:
                continue
            name = f"port-{port.number}/{port.proto}-{port.readers}" + "".join(f"-{a}" for a in port.at)
            yield name, tuple(_sockets(plan.machine, port, evidence))


def _package(need: Package, _: Evidence) -> Calls:
    return (f"assert host.package({need.name!r}).is_installed",)


def _user(need: User, _: Evidence) -> Calls:
    lines = [f"user = host.user({need.name!r})", f"assert user.group == {need.primary_group!r}"]
    if need.found == "refuse" and need.uid is not None:
        lines.append(f"assert user.uid == {need.uid}")
    if need.found == "refuse" and need.gid is not None:
        lines.append(f"assert user.gid == {need.gid}")
    if need.groups:
        lines.append(f"assert {{{', '.join(map(repr, need.groups))}}} <= set(user.groups)")
    if not need.system:
        lines += [f"assert user.home == {need.home!r}", f"assert user.shell == {need.shell!r}"]
    lines += [f"assert host.group({group.name!r}).exists" for group in need.brings]
    if need.managed_keys:
        digest = hashlib.sha256("".join(f"{key}\n" for key in need.keys).encode()).hexdigest()
        lines.append(f"assert host.file({need.authorized_keys!r}).sha256sum == {digest!r}")
    return tuple(lines)


def _owned(need: Directory | File) -> Calls:
    return (
        f"path = host.file({need.path!r})",
        f"assert path.user == {need.owner!r}",
        f"assert path.group == {need.group!r}",
        f"assert path.mode == 0o{need.mode:o}",
    )


def _directory(need: Directory, _: Evidence) -> Calls:
    return (*_owned(need), "assert path.is_directory")


def _file(need: File, _: Evidence) -> Calls:
    return (*_owned(need), f"assert path.sha256sum == {hashlib.sha256(need.content).hexdigest()!r}")


def _absent(need: Absent, _: Evidence) -> Calls:
    return (f"assert not host.file({need.path!r}).exists",)


def _sysctl(need: Sysctl, evidence: Evidence) -> Calls:
    state = evidence.observation.sysctls.get(need.key)
    if state is None:
        return ()
    # Of what a container cannot set, the machine around it has the say.
    wanted = need.value.split() if state.writable else state.value.split()
    return (f"assert str(host.sysctl({need.key!r})).split() == {wanted!r}",)


def _unit(need: Unit, evidence: Evidence) -> Calls:
    state = evidence.observation.units.get(need.name)
    if state is None or not state.exists:
        return (f"assert not host.service({need.name!r}).exists",)
    lines = [f"unit = host.service({need.name!r})"]
    if need.masked:
        return (*lines, "assert unit.is_masked")
    if need.enabled or state.file_state == "disabled":
        lines.append(f"assert {'' if need.enabled else 'not '}unit.is_enabled")
    # What did its work and ended, or is skipped in a container, does not run, and need not.
    if need.running == state.running:
        lines.append(f"assert {'' if need.running else 'not '}unit.is_running")
    return tuple(lines) if lines[1:] else (*lines, "assert unit.exists")


def _sockets(machine: Machine, port: Port, evidence: Evidence) -> Iterator[str]:
    mine = [x for x in evidence.after if (x.proto, x.port) == (port.proto, port.number)]
    if port.audience == "local":
        answering = sorted((x for x in mine if x.local or x.address is None), key=str)[:1]
        specs = [_spec(x, _IPV4) for x in answering]
    else:
        addresses = tuple(map(ip_address, port.at)) or machine.addresses
        specs = [next(_spec(x, a.version) for x in sorted(mine, key=str) if x.answers(a)) for a in addresses]
    return (f"assert host.socket({spec!r}).is_listening" for spec in dict.fromkeys(specs))


def _spec(listener: Listener, version: int) -> str:
    """What `host.socket` calls a listening socket: every address of a family, or the one it listens on."""
    everywhere = "0.0.0.0" if version == _IPV4 else "::"  # noqa: S104 - its name, not a binding
    address = listener.address or everywhere
    return f"{listener.proto}://{address}:{listener.port}"
