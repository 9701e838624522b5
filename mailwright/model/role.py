"""What a role is, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from mailwright.model.fleet import Fleet, Machine
from mailwright.model.keyring import Keyring
from mailwright.model.needs import Needs
from mailwright.model.secrets import Secrets
from mailwright.model.visit import OutsideCheck


class Settings(BaseModel):
    """A role's section of a machine in the fleet file. Subclass it in the role's module."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Context(Generic[S]):
    """What a role knows about the machine it works for. All of it is pure data."""

    fleet: Fleet
    machine: Machine
    settings: S
    secrets: Secrets
    keyring: Keyring = field(default_factory=Keyring)
    role: str = ""
    """The name of the role this context is for."""
    own: Needs = field(default_factory=Needs)
    """This role's own needs, files included. Empty while needs are still being gathered."""
    merged: Needs = field(default_factory=Needs)
    """The needs of all roles of this machine. Empty while needs are still being gathered."""


@dataclass(frozen=True)
class Result:
    """What a check's command did on the host."""

    status: int
    stdout: str
    stderr: str
    asked: float = field(default=0.0, compare=False)
    """The operator's time (seconds since the epoch) before the host was asked."""


@dataclass(frozen=True)
class Check:
    """Behaviour that needs cannot express, as one shell command and a judgement on its result.

    Checks are data so that all of a machine's run in one round trip. `judge` returns `None` when
    the host behaves, or the sentence that says what it found instead. Commands only read.
    """

    name: str
    command: str
    judge: Callable[[Result], str | None]
    remedy: str


@dataclass(frozen=True)
class Agreement:
    """Behaviour of several machines together: one shell command on each of them, and one judgement.

    `judge` is given every machine's result by its name, and returns `None` or the sentence that says what
    is wrong. It is asked only when all of them answered; when one did not, nothing is known.
    """

    name: str
    machines: tuple[str, ...]
    command: str
    judge: Callable[[Mapping[str, Result]], str | None]
    remedy: str


def _no_needs(_: Context[Any]) -> Needs:
    return Needs()


@dataclass(frozen=True)
class Wanted:
    """A secret that a role reads. `make` draws a value; `None`: it comes from somebody else."""

    purpose: str
    make: Callable[[], str] | None = None


def _no_secrets(_: Context[Any]) -> Mapping[str, Wanted]:
    return {}


def _nothing(_: Context[Any]) -> None:
    return


def _no_checks(_: Context[Any]) -> Iterable[Check]:
    return ()


def _no_outside(_: Context[Any]) -> Iterable[OutsideCheck]:
    return ()


def _no_agreements(_: Fleet) -> Iterable[Agreement]:
    return ()


@dataclass(frozen=True)
class Role:
    """One job of a machine. A module and its templates folder; no inheritance.

    `needs` is asked first, without knowledge of other roles. `files` is asked afterwards, with
    `ctx.merged` at hand, so that a role such as the firewall can render the sum. Both are pure, and only
    `files` reads secrets.
    `apply` runs pyinfra operations. `after` orders roles; names that a machine lacks are ignored.
    """

    name: str
    settings: type[Settings]
    apply: Callable[[Context[Any]], None]
    needs: Callable[[Context[Any]], Needs] = _no_needs
    files: Callable[[Context[Any]], Needs] = _no_needs
    """The second pass: only `files`, `directories` and `absent` may be filled."""
    secrets: Callable[[Context[Any]], Mapping[str, Wanted]] = _no_secrets
    """Secrets that `files` reads because of what others need; by `ctx.merged`."""
    checks: Callable[[Context[Any]], Iterable[Check]] = _no_checks
    outside: Callable[[Context[Any]], Iterable[OutsideCheck]] = _no_outside
    """The same of its ports, as the controller sees them from where it stands."""
    probes: Callable[[Context[Any]], Iterable[Check]] = _no_checks
    """Checks that do something that the world sees; run when the operator asks for it only."""
    agreements: Callable[[Fleet], Iterable[Agreement]] = _no_agreements
    """What machines with the role must be together, and what none of them can know alone."""
    finish: Callable[[Context[Any]], None] = _nothing
    """Operations once every role has had its turn and all units run: what a run must not end well without,
    and no other role should have to wait for."""
    after: tuple[str, ...] = ("base",)
