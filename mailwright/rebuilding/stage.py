"""How far a rebuild has come, as the machine itself says: so that one that was killed is gone on with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from mailwright.model.errors import HostKeyError, MailwrightError, UnknownError
from mailwright.verify.gather import Run

NOTE = "/var/lib/mailwright/rebuild"
"""JSON on the machine from its first deploy until it is back: `{"begun": TIME, "placed": TIME}`."""
_OURS = "/etc/mailwright"
"""What every machine has that was ever deployed."""


class Stage(StrEnum):
    """What answers where the machine should be."""

    SILENT = "does not answer"
    """Nobody, or somebody whose host key is not the pinned one."""
    BARE = "is a bare host"
    BEGUN = "is being rebuilt"
    PLACED = "has what was backed up"
    """It may be open already, and must not be given its old mail again."""
    AT_WORK = "is at work"
    """It was deployed, and nothing says that a rebuild did it."""


@dataclass(frozen=True)
class Place:
    """Where the machine should be."""

    run: Run

    def look(self) -> tuple[Stage, str]:
        """What answers there, and why nobody does.

        Raises:
            MailwrightError: it says something that makes no sense.
        """
        command = f"cat {NOTE} 2>/dev/null || {{ [ -e {_OURS} ] && echo '\"at work\"' || echo '\"bare\"'; }}"
        try:
            said = self.run(f"sh -c {shlex.quote(command)}").stdout
        except (UnknownError, HostKeyError) as error:
            return Stage.SILENT, str(error)
        try:
            found = json.loads(said)
        except json.JSONDecodeError:
            raise MailwrightError(f"{NOTE} makes no sense: {said.strip()[:80]!r}") from None
        if isinstance(found, Mapping):
            return (Stage.PLACED if found.get("placed") else Stage.BEGUN), ""
        return (Stage.BARE if found == "bare" else Stage.AT_WORK), ""

    def begin(self) -> None:
        """Note that a rebuild has begun; only on a bare host."""
        self._note({"begun": _now()})

    def placed(self) -> None:
        """Note that it has what was backed up, before anything of that may leave it."""
        self._note({"begun": _now(), "placed": _now()})

    def finish(self) -> None:
        """Note nothing any more: it is a machine like any other."""
        self._must(f"rm -f {NOTE}")

    def _note(self, what: Mapping[str, str]) -> None:
        folder = NOTE.rpartition("/")[0]
        text = shlex.quote(json.dumps(what))
        # whole and on the disk, or not at all
        self._must(f"mkdir -p {folder} && echo {text} >{NOTE}.new && sync {NOTE}.new && mv {NOTE}.new {NOTE}")

    def _must(self, command: str) -> None:
        done = self.run(f"sh -c {shlex.quote(command)}")
        if done.status:
            raise MailwrightError(f"{NOTE}: {done.stderr.strip() or f'status {done.status}'}")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
