"""Shell of which every part has its inverse: edits of files, and what is put on a host for a while."""

import shlex
from zlib import crc32

KEPT = "/run/sabotage"


def _kept(path):
    return f"{KEPT}/{crc32(path.encode()):08x}"


def put_back(path):
    """The content, owner, mode and mtime of a file that `edit` has kept."""
    file, kept = shlex.quote(path), _kept(path)
    restore = f"cat {kept} >{file}; chown --reference={kept} {file}; chmod --reference={kept} {file}"
    return f"if [ -e {kept} ]; then {restore}; touch -r {kept} {file}; rm {kept}; fi"


def keep(path):
    return f"mkdir -p {KEPT}; [ -e {_kept(path)} ] || cp -p {shlex.quote(path)} {_kept(path)}"


def edit(subject, path, command, then="", again=None):
    """(damage, undo): keep a file, change it by `command`; `then` makes its reader take it, both times.

    `again` is what takes it back where that is not `then`.
    """
    back = then if again is None else again
    damage = f"{keep(path)}; {command}" + (f"; {then}" if then else "")
    fresh = "" if "systemctl restart" in back else subject.fresh(path)
    return damage, put_back(path) + (f"; {back}" if back else "") + fresh


def extra(path, text, then=""):
    """(damage, undo): a file that was not there. `then` makes its reader take it, both times."""
    after = f"; {then}" if then else ""
    folder = shlex.quote(path.rpartition("/")[0])
    damage = f"mkdir -p {folder}; printf %s {shlex.quote(text)} >{shlex.quote(path)}{after}"
    return damage, f"rm -f {shlex.quote(path)}{after}"


def away(path, then="", again=""):
    """(damage, undo): what lies at a path is elsewhere beside it."""
    here, there = shlex.quote(path), shlex.quote(f"{path}.sabotage")
    undo = f"if [ -e {there} ] || [ -S {there} ]; then mv {there} {here}; fi"
    return f"mv {here} {there}" + (f"; {then}" if then else ""), undo + (f"; {again}" if again else "")


def drop_in(unit, text):
    """(damage, undo): a unit with something else in its own section, taken by systemd."""
    folder, take = f"/run/systemd/system/{unit}.d", "systemctl daemon-reload"
    damage, _ = extra(f"{folder}/sabotage.conf", text, take)
    return damage, f"rm -rf {folder}; {take}"


def service(name, command):
    """(damage, undo): a program of somebody else's that runs in the background."""
    unit = f"sabotage-{name}"
    command = command.replace("$", "$$")  # systemd takes one away
    return (
        f"systemd-run --quiet --collect --unit={unit} {command}",
        f"systemctl stop {unit}.service 2>/dev/null || :",
    )


def in_place(expression, path):
    """An edit by sed that keeps the file's inode and must change something."""
    file = shlex.quote(path)
    kept = _kept(path)
    same = f"if cmp -s {kept} {file}; then echo 'nothing in it is changed'; exit 1; fi"
    return f"sed {shlex.quote(expression)} {kept} >{file}; {same}"
