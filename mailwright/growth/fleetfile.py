"""One machine more or less in the text of a fleet file; every other octet stays as it is. Pure.

ruamel.yaml says where everything stands, and only those places are edited: written out anew by it, a file
would come back with other blanks and displaced comments, and the operator could not read the diff.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from mailwright.growth.places import LISTS, Edit, Tree
from mailwright.model.errors import FleetError
from mailwright.model.yamlfile import parse

_FILE = "the fleet file"


@dataclass(frozen=True)
class NewMachine:
    """What differs between a machine and the one that it is to be like."""

    name: str
    fqdn: str
    ipv4: str | None = None
    ipv6: str | None = None


def with_machine(text: str, like: str, new: NewMachine) -> str:
    """The text with one machine more, below the one it is like: all of that one's keys but what differs.

    What the other one's keys hold is said again by the same words; of an anchor, an alias is made. Lists
    that name the other one (a pool's members, say) name the new one, too.

    Raises:
        FleetError: there is no such machine, or its lines are of a form that is not understood.
    """
    if _crlf(text):
        return with_machine(text.replace("\r\n", "\n"), like, new).replace("\n", "\r\n")
    tree = Tree.of(text)
    first, last = tree.lines_of(like)
    if tree.has(like, "ssh", "address"):
        raise FleetError([f"{like} has an ssh.address of its own; add the new machine by hand"])
    own = dict(vars(new))
    lines = []
    inside = 0
    """The indentation of a key whose lines are said by an alias; 0 where there is none."""
    for line in tree.lines[first:last]:
        indent = len(line) - len(line.lstrip(" -"))
        key = line.lstrip(" -").partition(":")[0]
        if indent > inside > 0 or line.lstrip().startswith("#"):
            continue
        inside = 0
        if key in own:
            value = own.pop(key)
            lines += [f"{line[:indent]}{key}: {_scalar(value)}\n"] if value is not None else []
        elif anchor := re.match(r"[^#]*?: +&([^\s,\[\]{}]+)", line):
            lines.append(f"{line[:indent]}{key}: *{anchor[1]}\n")
            inside = indent
        else:
            lines.append(_without_remark(line))
    if missing := [key for key, value in own.items() if value is not None]:
        raise FleetError([f"{like} has no {missing[0]} of its own line; add the new machine by hand"])
    if not tree.lines[last - 1].endswith("\n"):
        lines = ["\n", *lines]
    edits = [*tree.doubled(like, new.name), tree.below(last, "".join(lines))]
    return _checked(text, _edited(text, edits), lambda data: _expect_more(data, like, new))


def without_machine(text: str, name: str) -> str:
    """The text without a machine, and without its name in lists that have others as well.

    An anchor that others refer to moves to the first of them.

    Raises:
        FleetError: there is no such machine, or its lines are of a form that is not understood.
    """
    if _crlf(text):
        return without_machine(text.replace("\r\n", "\n"), name).replace("\n", "\r\n")
    tree = Tree.of(text)
    edits = [*tree.entries(name), *tree.machine(name)]
    return _checked(text, _edited(text, edits), lambda data: _expect_less(data, name))


def closed_machine(text: str, name: str) -> str:
    """The text in which a machine is closed; the same text if it is.

    Raises:
        FleetError: as `without_machine`.
    """
    if _crlf(text):
        return closed_machine(text.replace("\r\n", "\n"), name).replace("\n", "\r\n")
    if _machine(parse(text.encode(), _FILE).data, name).get("closed") is True:
        return text
    opened = opened_machine(text, name)  # it may say `closed: false`
    edited = _edited(opened, [Tree.of(opened).added(name, "closed", "true")])
    return _checked(text, edited, lambda data: _machine(data, name).update(closed=True))


def opened_machine(text: str, name: str) -> str:
    """The text in which a machine is not closed; the same text if it is not. The reverse of `closed_machine`.

    Raises:
        FleetError: as `without_machine`.
    """
    if _crlf(text):
        return opened_machine(text.replace("\r\n", "\n"), name).replace("\n", "\r\n")
    edit = Tree.of(text).dropped(name, "closed")
    edited = _edited(text, [edit] if edit else [])
    return _checked(text, edited, lambda data: _machine(data, name).pop("closed", None))


def _crlf(text: str) -> bool:
    """Whether every line ends with CR LF."""
    return 0 < text.count("\r\n") == text.count("\n")


def _edited(text: str, edits: Iterable[Edit]) -> str:
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _scalar(value: str) -> str:
    """A name or an address as YAML: one that could be read as anything but text stands in quotes."""
    return f'"{value}"' if value.startswith((":", "-")) or value.endswith(":") else value


def _without_remark(line: str) -> str:
    """What is remarked about one machine need not hold for another."""
    return line if '"' in line or "'" in line else re.sub(r"\s+#.*$", "", line.rstrip("\n")) + "\n"


# --- what an edit must come to


def _checked(before: str, after: str, expect: Callable[[dict[str, Any]], object]) -> str:
    """The edited text, if it says what it should: only what was meant has changed."""
    wanted = parse(before.encode(), _FILE).data
    expect(wanted)
    try:
        found = parse(after.encode(), _FILE).data
    except FleetError:
        found = {}
    if found != wanted:
        raise FleetError(["the fleet file is of a form that is not edited here; edit it by hand"])
    return after


def _expect_more(data: dict[str, Any], like: str, new: NewMachine) -> None:
    machines = cast("list[dict[str, Any]]", data["machines"])
    place = next(i for i, m in enumerate(machines) if m.get("name") == like)
    own = vars(new)
    made = {key: own.get(key, value) for key, value in machines[place].items()}
    machines.insert(place + 1, {key: value for key, value in made.items() if value is not None})
    for names in _lists([data.get("domains"), data.get("pools")]):
        names[:] = [each for name in names for each in ([name, new.name] if name == like else [name])]


def _machine(data: dict[str, Any], name: str) -> dict[str, Any]:
    machines = cast("list[dict[str, Any]]", data.get("machines") or [])
    found = next((m for m in machines if isinstance(m, dict) and m.get("name") == name), None)
    if found is None:
        raise FleetError([f"the fleet has no machine {name}"])
    return found


def _expect_less(data: dict[str, Any], name: str) -> None:
    data["machines"] = [m for m in data["machines"] if m.get("name") != name]
    for names in _lists([data.get("domains"), data.get("pools")]):
        if len(names) > 1:
            names[:] = [each for each in names if each != name]


def _lists(value: object) -> Iterator[list[Any]]:
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in LISTS and isinstance(inner, list):
            yield inner
        yield from _lists(inner)
    for inner in value if isinstance(value, list) else ():
        yield from _lists(inner)
