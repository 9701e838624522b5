"""Files, folders and links of two surveys compared: what lies there, whose it is, and what is in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mailwright.drift.finding import Finding
from mailwright.drift.places import noun
from mailwright.drift.survey import Survey

_KINDS = {"f": "file", "d": "directory", "l": "link"}


class Lies(NamedTuple):
    """What a survey says of a path."""

    kind: str
    """find's letter: f, d, l."""
    owner: str
    group: str
    mode: str
    target: str
    """Of a link."""

    @classmethod
    def read(cls, value: str) -> Lies:
        """Read a survey's value."""
        return cls(*[*value.split(" ", 4), "", "", "", ""][:5])

    def __str__(self) -> str:
        """One line for an operator."""
        target = f" to {self.target}" if self.kind == "l" else ""
        return f"{_KINDS.get(self.kind, 'special file')}{target} {self.owner}:{self.group} {self.mode:0>4}"


def path_findings(before: Survey, now: Survey) -> Iterator[Finding]:
    """What is different about paths, and in files; of a folder that came or went, only itself."""
    old, new = before.of("path"), now.of("path")
    gone_or_new: list[str] = []
    for path in sorted({*old, *new}):
        was, is_now = old.get(path), new.get(path)
        if (was is None) != (is_now is None):
            lies = Lies.read(was or is_now or "")
            if lies.kind == "d":
                if any(path.startswith(f"{above}/") for above in gone_or_new):
                    continue
                gone_or_new.append(path)
            if lies.kind == "d" and _explained(path, old if is_now is None else new):
                continue
            word = "added" if was is None else "missing"
            yield Finding(f"{noun(path, lies.kind)} {word}", path, *_both(was, is_now))
        elif was is not None and is_now is not None:
            yield from _differing(path, Lies.read(was), Lies.read(is_now), before, now)


def _explained(folder: str, paths: object) -> bool:
    """A folder that came or went with things in it: those are told."""
    return any(path.startswith(f"{folder}/") for path in paths)  # type: ignore[attr-defined]


def _both(was: str | None, is_now: str | None) -> tuple[str, str]:
    return str(Lies.read(was)) if was else "", str(Lies.read(is_now)) if is_now else ""


def _differing(path: str, was: Lies, is_now: Lies, before: Survey, now: Survey) -> Iterator[Finding]:
    what = noun(path, is_now.kind)
    if was.kind != is_now.kind:
        yield Finding(f"{what} type changed", path, str(was), str(is_now))
        return
    for aspect in ("owner", "group", "mode"):
        if (a := getattr(was, aspect)) != (b := getattr(is_now, aspect)):
            yield Finding(f"{what} {aspect} changed", path, a, b)
    if was.target != is_now.target:
        yield Finding(f"{what} target changed", path, was.target, is_now.target)
    a, b = before.of("content").get(path), now.of("content").get(path)
    if a != b and a is not None and b is not None:
        yield Finding(f"{what} edited", path, after=f"SHA-256 {b[:12]}")
