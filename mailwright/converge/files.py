"""Files, directories and absences: what differs, and the one script that puts it right. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from mailwright.converge.shell import here, words
from mailwright.model.needs import Absent, Directory, File, Needs
from mailwright.observe.places import STAGE, STAGE_ROOT, sibling, tombstone
from mailwright.observe.state import Observation, PathState

_VALIDATION_LIMIT = 120
"""Seconds a validator may take."""


@dataclass(frozen=True)
class FileChange:
    """A file that is not as it should be."""

    file: File
    seen: PathState | None
    content: bool
    """Its content is wrong (or it is missing): not only its owner or mode."""

    def __str__(self) -> str:
        """One line for the operator; nothing of the content."""
        if self.seen is None:
            return f"{self.file.path}: new"
        what = ["content"] if self.content else []
        if (self.seen.owner, self.seen.group) != (self.file.owner, self.file.group):
            what.append(f"owner {self.seen.owner}:{self.seen.group} -> {self.file.owner}:{self.file.group}")
        if self.seen.mode != self.file.mode:
            what.append(f"mode {self.seen.mode:04o} -> {self.file.mode:04o}")
        return f"{self.file.path}: {', '.join(what)}"


@dataclass(frozen=True)
class Changes:
    """What differs between a role's files and a machine."""

    directories: tuple[Directory, ...]
    files: tuple[FileChange, ...]
    absent: tuple[Absent, ...]
    obstacles: tuple[str, ...]
    """What no operation may clear away: sentences for the operator."""

    def __bool__(self) -> bool:
        return bool(self.directories or self.files or self.absent or self.obstacles)

    @property
    def paths(self) -> frozenset[str]:
        """The paths whose content, owner or mode will be newer afterwards."""
        return frozenset({c.file.path for c in self.files} | {a.path for a in self.absent})

    @property
    def lines(self) -> tuple[str, ...]:
        """What will change, one line each."""
        return (
            *(f"{d.path}: directory {d.owner}:{d.group} {d.mode:04o}" for d in self.directories),
            *map(str, self.files),
            *(f"{a.path}: removed" for a in self.absent),
        )


def compare(own: Needs, seen: Observation) -> Changes:
    """Compare the files, directories and absences of `own` with what was seen."""
    directories = [d for d in own.directories if not _is_directory(d, seen.paths.get(d.path))]
    files = [FileChange(f, seen.paths.get(f.path), _differs(f, seen.paths.get(f.path))) for f in own.files]
    absent = [a for a in own.absent if a.path in seen.paths]
    return Changes(
        directories=tuple(sorted(directories, key=lambda d: d.path)),
        files=tuple(c for c in files if c.content or _is_dressed_wrong(c)),
        absent=tuple(absent),
        obstacles=tuple(_obstacles(own, seen)),
    )


def _is_directory(need: Directory, seen: PathState | None) -> bool:
    return seen is not None and (
        (seen.kind, seen.owner, seen.group, seen.mode) == ("directory", need.owner, need.group, need.mode)
    )


def _differs(need: File, seen: PathState | None) -> bool:
    return seen is None or seen.kind != "file" or seen.sha256 != hashlib.sha256(need.content).hexdigest()


def _is_dressed_wrong(change: FileChange) -> bool:
    seen, need = change.seen, change.file
    return seen is None or (seen.owner, seen.group, seen.mode) != (need.owner, need.group, need.mode)


def _obstacles(own: Needs, seen: Observation) -> list[str]:
    # A link may be replaced by a file, but a directory may hold what nobody else has.
    found = []
    for directory in own.directories:
        state = seen.paths.get(directory.path)
        if state is not None and state.kind != "directory":
            found.append(f"{directory.path} must be a directory and is a {state.kind}: move it away")
    for path in [f.path for f in own.files] + [a.path for a in own.absent]:
        state = seen.paths.get(path)
        if state is not None and state.kind == "directory":
            found.append(f"{path} must not be a directory: move it away")
    return found


def apply(changes: Changes, validate: str | None = None) -> str:
    """Return the shell text that makes all changes, or none.

    Everything is prepared in a staging folder first and validated there. Then the new files are laid
    beside their places with their final owners and modes, and only then renamed: whatever fails before
    the first rename leaves the machine as it was.
    """
    siblings = [sibling(c.file.path) for c in changes.files if c.content]
    parts = [
        _PREPARE.replace("@SIBLINGS@", words(*siblings)),
        _COPY if validate else "",
        *(_stage(c) for c in changes.files if c.content),
        _validation(changes, validate) if validate else "",
        *(_line("folder", d) for d in changes.directories),
        *(_lay(c.file) for c in changes.files if c.content),
        f"sync -- {words(*siblings)}" if siblings else "",
        *(f"mv -fT -- {words(sibling(c.file.path), c.file.path)}" for c in changes.files if c.content),
        *(_line("dress", c.file) for c in changes.files if not c.content),
        *(_remove(a.path) for a in changes.absent),
        "clean",
    ]
    return "\n".join(part for part in parts if part)


_PREPARE = f"""umask 077 # until a file has its own mode
clean() {{ rm -rf {STAGE}; rm -f -- @SIBLINGS@; }}
trap clean EXIT
clean
root={STAGE_ROOT}
(umask 022; mkdir -p $root; chmod 0711 {STAGE})
stage() {{ (umask 022; mkdir -p "$root${{1%/*}}"); rm -f "$root$1"; base64 -d >"$root$1"; }}
dress() {{ chown -h "$2:$3" "$1"; chmod "$4" "$1"; }}
folder() {{ [ -d "$1" ] || mkdir -p -m 0700 "$1"; dress "$@"; }}"""

# The validator must see the complete configuration, with what packages put beside the role's files.
_COPY = f"cp -a /etc {STAGE_ROOT}/ 2>/dev/null || :"


def _stage(change: FileChange) -> str:
    return here(words("stage", change.file.path), change.file.content)


def _validation(changes: Changes, command: str) -> str:
    """Dress the staged copy like the real thing, and let the validator judge it.

    In a mount namespace of its own the copy also stands at /etc, so that absolute paths inside the
    configuration lead to the new files. Where the kernel forbids that, it sees them below {root} only.
    """
    staged = [_line("folder", d, at=STAGE_ROOT) for d in changes.directories]
    for change in changes.files:
        # A file outside /etc whose content stays has no copy to dress.
        target = words(STAGE_ROOT + change.file.path)
        staged.append(f"[ ! -e {target} ] || {_line('dress', change.file, at=STAGE_ROOT)}")
    staged += [f"rm -f -- {words(STAGE_ROOT + a.path)}" for a in changes.absent]
    judge = words(
        "timeout", "-k", "5", str(_VALIDATION_LIMIT), "sh", "-c", command.replace("{root}", STAGE_ROOT)
    )
    return "\n".join(
        [
            *staged,
            f"judge() {{ {judge}; }}",
            f"apart() {{ unshare --mount --propagation private sh -c {words(_APART)} sh {judge}; }}",
            "judge=judge",
            "! unshare --mount --propagation private true 2>/dev/null || judge=apart",
            f"$judge >{STAGE}/said 2>&1 9>&- ||",
            f"  {{ cat {STAGE}/said >&2; fail 'the new configuration is not valid: nothing was changed'; }}",
        ]
    )


_APART = f'mount --bind {STAGE_ROOT}/etc /etc && exec "$@"'


def _line(verb: str, need: File | Directory, at: str = "") -> str:
    # Five digits: with four, chmod(1) leaves a directory the set-group-ID bit it inherited.
    return words(verb, at + need.path, need.owner, need.group, f"{need.mode:05o}")


def _lay(file: File) -> str:
    parent = str(PurePosixPath(file.path).parent)
    return (
        f"[ -d {words(parent)} ] || (umask 022; mkdir -p {words(parent)})\n"
        f"install -T -o {file.owner} -g {file.group} -m {file.mode:04o} -- "
        f"{words(STAGE_ROOT + file.path, sibling(file.path))}"
    )


def _remove(path: str) -> str:
    # The mark first: were we killed in between, a restart too many is better than one too few.
    mark = tombstone(path)
    return (
        f"(umask 022; mkdir -p {words(str(PurePosixPath(mark).parent))}; touch {words(mark)})\n"
        f"rm -f -- {words(path)}"
    )
