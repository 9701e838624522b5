"""What was restored by a way of its own, compared: a queue goes through the program that owns it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailwright.backup.manifest import Compared, Finding, known_as
from mailwright.backup.programs import Difference

QUEUE = "/var/spool/postfix"
"""Postfix's queue (https://www.postfix.org/postconf.5.html#queue_directory)."""
_RECEPTION = 5
"""Seconds: a message that began to come so shortly before a snapshot may not have been whole."""


def compare_copy(top: str, differences: Sequence[Difference]) -> Compared:
    """Compare a dumped path by what the host program said of the snapshot and a new dump of the restored one.

    Whose files they are may have moved them, from one queue to another: a file is found by its name. What was
    written to since is not judged.
    """
    mine = [each for each in differences if each.path == top or each.path.startswith(f"{top}/")]
    elsewhere = {known_as(each.path) for each in mine if each.what == "extra"}
    moved = elsewhere & {known_as(each.path) for each in mine if each.what == "missing"}
    mine = [each for each in mine if known_as(each.path) not in moved]
    wrong = [each for each in mine if each.what != "extra" and not each.newer]
    written = {each.path for each in mine if each.what not in ("extra", "missing") and each.newer}
    hidden = ("content", "xattrs", "missing")
    return Compared(
        top,
        later=tuple(sorted(written)),
        more=tuple(sorted(each.path for each in mine if each.what == "extra")),
        findings=tuple(
            Finding(e.path, e.what, *(() if e.what in hidden else (e.expected, e.found))) for e in wrong
        ),
    )


def compare_queue(original: Mapping[str, int], restored: Mapping[str, int], taken: float) -> Compared:
    """Compare two queues by their messages: when each came, by its id, in seconds since the epoch.

    What the original has delivered since is still with the restored one, which is why a machine must not run
    beside the one it was made from.
    """
    lacking = original.keys() - restored.keys()
    late = {each for each in lacking if original[each] >= taken - _RECEPTION}
    return Compared(
        f"{QUEUE} (messages)",
        same=len(original.keys() & restored.keys()),
        later=tuple(f"message {each}" for each in sorted(late | (restored.keys() - original.keys()))),
        findings=tuple(Finding(f"message {each}", "missing") for each in sorted(lacking - late)),
    )
