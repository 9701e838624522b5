"""Two surveys of a machine compared, kind by kind: what nobody applied, named for an operator. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from mailwright.drift.finding import Finding
from mailwright.drift.paths import path_findings
from mailwright.drift.survey import Survey
from mailwright.drift.versions import newer

Values = Callable[[str, str | None, str | None], Iterator[Finding]]
"""What a key's value before and now amount to; `None`: it was, or is, not there."""


def compare(before: Survey, now: Survey, unattended: Collection[tuple[str, str]] = ()) -> tuple[Finding, ...]:
    """What changed from one survey to the other; nothing of kinds of which one of them could not say all.

    `unattended`: packages with the versions that unattended-upgrades brought; with `-VERSION`, removed.
    """
    found = [*path_findings(before, now)]
    for kind, judge in _JUDGES.items():
        if kind in before.failed | now.failed:
            continue
        old, new = before.of(kind), now.of(kind)
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                found += judge(key, old.get(key), new.get(key))
    return _told_once([*found, *_firewall(before, now)], unattended)


def _named(noun: str, *, value: bool = True) -> Values:
    """A thing that is added, missing or changed."""

    def judge(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
        what = "added" if old is None else "missing" if new is None else "changed"
        yield Finding(f"{noun} {what}", key, (old or "") if value else "", (new or "") if value else "")

    return judge


_HELD = "h"


def _package(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if old is None or new is None:
        kind = "package added" if new else "package removed"
        yield Finding(kind, key, _version(old), _version(new))
        return
    if (old[0] == _HELD) != (new[0] == _HELD):
        yield Finding("package held" if new[0] == _HELD else "package let go", key, after=_version(new))
    if _version(old) != _version(new):
        word = "upgraded" if newer(_version(new), _version(old)) else "downgraded"
        yield Finding(f"package {word}", key, _version(old), _version(new))
    if old[1] != new[1]:
        yield Finding("package half-way", key, after=f"dpkg says `{new[:2]}`")


def _version(value: str | None) -> str:
    return value.partition(" ")[2] if value else ""


def _unit(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if old is None or new is None:
        yield Finding("unit added" if new else "unit missing", key, old or "", new or "")
    elif new.startswith(("masked", "enabled", "disabled")) and not old.startswith("masked"):
        yield Finding(f"unit {new.partition('-')[0]}", key, old, new)
    else:
        word = "unit unmasked" if old.startswith("masked") else "unit changed"
        yield Finding(word, key, old, new)


def _running(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if new is not None and old is not None:
        words = {"active": "unit started", "failed": "unit failed"}
        yield Finding(words.get(new, "unit stopped"), key, old, new)


def _timer(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    started = new == "active"
    if old != new and (started or old == "active"):
        yield Finding("timer started" if started else "timer stopped", key, old or "", new or "")


_USER = ("number", "group number", "home", "shell")


def _user(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if old is None or new is None:
        yield Finding("user added" if new else "user missing", key, old or "", new or "")
        return
    for what, was, is_now in zip(_USER, old.split(":"), new.split(":"), strict=False):
        if was != is_now:
            yield Finding(f"user's {what} changed", key, was, is_now)


def _member(key: str, old: str | None, _: str | None) -> Iterator[Finding]:
    group, _, name = key.partition(" ")
    yield Finding("group member added" if old is None else "group member missing", f"{name} in {group}")


def _password(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if old is not None and new is not None:  # a user that came or went is told as such
        yield Finding("user's password changed", key, old.partition(" ")[0], new.partition(" ")[0])


def _sysctl(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    yield Finding("sysctl changed", key.replace("/", "."), old or "", new or "")


def _port(key: str, old: str | None, new: str | None) -> Iterator[Finding]:
    if old is None or new is None:
        yield Finding(
            "listening port opened" if old is None else "listening port closed", key, old or "", new or ""
        )
    elif old and new:  # a socket that systemd holds alone has no program yet
        yield Finding("listening program changed", key, old, new)


def _host(_: str, old: str | None, new: str | None) -> Iterator[Finding]:
    yield Finding("host name changed", new or "", old or "", new or "")


_JUDGES: dict[str, Values] = {
    "package": _package,
    "unit": _unit,
    "running": _running,
    "timer": _timer,
    "transient": _named("transient unit", value=False),
    "user": _user,
    "group": _named("group"),
    "member": _member,
    "password": _password,
    "sysctl": _sysctl,
    "host": _host,
    "port": _port,
    "address": _named("address", value=False),
    "route": _named("route"),
    "postfix": _named("postfix setting"),
    "postfix-service": _named("postfix service"),
    "sshd": _named("sshd setting"),
    "setuid": _named("setuid program"),
    "capability": _named("capability"),
    "acl": _named("access list", value=False),
}


def _firewall(before: Survey, now: Survey) -> Iterator[Finding]:
    old, new = before.of("rule"), now.of("rule")
    if "rule" in before.failed | now.failed:
        return
    if old and not new:
        yield Finding("firewall emptied", "ruleset", f"{len(old)} lines", "nothing")
        return
    changes = [(rule, "firewall rule removed") for rule in sorted({*old} - {*new})]
    changes += [(rule, "firewall rule added") for rule in sorted({*new} - {*old})]
    for rule, kind in changes:
        where, colon, what = rule.partition(": ")
        yield Finding(kind, what if colon else rule, text=(f"in {where}",) if colon else ())
    if not changes and before.of("order") != now.of("order"):
        yield Finding("firewall rules reordered", "ruleset")


def _told_once(found: list[Finding], unattended: Collection[tuple[str, str]]) -> tuple[Finding, ...]:
    """Leave out what another finding has told already: a unit's file, its state, its links, its timer."""
    subjects = {(f.kind, f.subject) for f in found}
    names = {f.subject for f in found if f.kind.startswith("unit ") and "/" not in f.subject}
    files = {
        f.subject.rpartition("/")[2]
        for f in found
        if f.kind in ("unit added", "unit missing") and "/" in f.subject
    }
    kept = []
    for finding in found:
        name = finding.subject.rpartition("/")[2]
        told = (
            (finding.kind.startswith("unit dependency ") and name in names | files)
            or (
                finding.kind == "unit added"
                and "/dev/null" in finding.after
                and ("unit masked", name) in subjects
            )
            or (
                finding.kind == "unit missing"
                and "/dev/null" in finding.before
                and ("unit unmasked", name) in subjects
            )
            or (
                finding.kind in ("unit added", "unit missing")
                and "/" not in finding.subject
                and name in files
            )
            or (finding.kind == "timer started" and name in files)
            or (finding.kind == "timer stopped" and ("unit masked", name) in subjects)
            or (finding.kind == "group added" and ("user added", finding.subject) in subjects)
        )
        if not told:
            known = _by_itself(finding) in unattended
            kept.append(replace(finding, expected=True) if known else finding)
    return tuple(kept)


def _by_itself(finding: Finding) -> tuple[str, str] | None:
    """A package and its version, as unattended-upgrades would have brought (or with `-`, removed) it."""
    name = finding.subject.partition(":")[0]
    if finding.kind in ("package upgraded", "package added"):
        return name, finding.after
    return (name, f"-{finding.before}") if finding.kind == "package removed" else None
