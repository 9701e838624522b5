"""What the operator sees of a change before it is made."""

from __future__ import annotations

from pyinfra.operations.util.files import generate_color_diff

from mailwright.converge.files import Changes, FileChange
from mailwright.converge.remote import arguments_of, fetch
from mailwright.converge.session import Session

_OTHERS = 0o004


def show(session: Session, title: str, lines: tuple[str, ...], files: Changes | None) -> None:
    """Show once in a run what an operation changes: with `-v` a line each, with `--diff` the text too."""
    if not session.first_time(title):
        return
    host, state = session.host, session.host.state
    if not (state.config.DIFF or state.print_noop_info):
        return
    texts = _texts(session, files) if files is not None and state.config.DIFF else {}
    for line in lines:
        path = line.partition(":")[0]
        host.log(session.redact(f"{title}: {line}"))
        for shown in texts.get(path, ()):
            host.log(session.redact(f"  {shown}"))


def _texts(session: Session, files: Changes) -> dict[str, list[str]]:
    changes = [c for c in files.files if c.content and is_shown(c)]
    if not changes:
        return {}
    there = [c.file.path for c in changes if c.seen is not None and c.seen.kind == "file"]
    old = fetch(session.host, there, arguments_of(session.host)) if there else {}
    texts: dict[str, list[str]] = {}
    for change in changes:
        path = change.file.path
        try:
            before = old.get(path, b"").decode().splitlines()
            after = change.file.content.decode().splitlines()
        except UnicodeDecodeError:
            texts[path] = ["(not text)"]
            continue
        texts[path] = list(generate_color_diff(before, after))
    return texts


def is_shown(change: FileChange) -> bool:
    """Whether the text of a file may be seen.

    Not if it is a secret, and not if the host keeps what lies there from more people than the new file
    will be kept from: it may have been a secret until now.
    """
    if change.file.secret:
        return False
    return change.seen is None or bool(change.seen.mode & _OTHERS) or change.seen.mode == change.file.mode
