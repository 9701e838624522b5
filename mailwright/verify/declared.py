"""Where the fleet file asks for what is verified, so that whoever reads of a fault finds the line."""

from __future__ import annotations

from dataclasses import dataclass

from mailwright.model.document import Document, Where
from mailwright.model.fleet import Fleet
from mailwright.verify.expectation import Expectation, Joint


@dataclass(frozen=True)
class Declarations:
    """The lines of a fleet file by what they ask for."""

    fleet: Fleet
    document: Document

    def of(self, about: Expectation | Joint) -> str:
        """`FILE:LINE`: the role of the (first) machine, or the machine where every machine is meant."""
        where = self._special(about) or self._role(about.machines[0], about.role)
        return f"{self.document.name}:{self.document.line(where)}"

    def of_machine(self, name: str) -> str:
        """`FILE:LINE` of a machine."""
        return f"{self.document.name}:{self.document.line(self._machine(name))}"

    def _special(self, about: Expectation | Joint) -> Where | None:
        """What has a line of its own: the release, and those who may log in."""
        if about.name == "release":
            places: tuple[Where, ...] = (
                (*self._machine(about.machines[0]), "debian"),
                ("defaults", "debian"),
            )
        else:
            places = tuple(
                ("admins", i, "name")
                for i, admin in enumerate(self.fleet.admins)
                if about.name == f"user-{admin.name}"
            )
        return next((place for place in places if place in self.document.lines), None)

    def _role(self, machine: str, role: str) -> Where:
        where = self._machine(machine)
        return (*where, "roles", role) if role else where

    def _machine(self, name: str) -> Where:
        return ("machines", [machine.name for machine in self.fleet.machines].index(name))
