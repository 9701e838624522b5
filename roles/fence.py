"""The fence: on a machine that another one has taken the place of, nothing runs that must not run twice.

Part of the role `backup`, because it asks the backup store. Which units it holds back, their roles say
(`Unit.fenced`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mailwright.converge import operations as op
from mailwright.model.needs import Directory, File, Needs, Unit
from mailwright.model.role import Check, Context, Result
from mailwright.render import render, template_folders

PROGRAM = "/usr/local/sbin/mailwright-fence"
STATE = "/var/lib/mailwright/fence"
REPLACED = f"{STATE}/replaced"
"""There while the machine is replaced: since when, and what the store said."""
_UNIT = "mailwright-fence.service"
_WATCH = "mailwright-fence-watch"


def needs() -> Needs:
    """The question at boot, and the timer that asks again."""
    return Needs(units=(Unit(_UNIT), Unit(f"{_WATCH}.timer")))


def files(ctx: Context[Any]) -> Needs:
    """The program and its units; which units of others it holds back is said in its own."""
    units = _held(ctx)
    folder = next(f for f in template_folders() if (f / "fence").is_dir()) / "fence"
    names = (_UNIT, f"{_WATCH}.service", f"{_WATCH}.timer")
    texts = {name: render(f"fence/{name}.j2", program=PROGRAM, units=units) for name in names}
    return Needs(
        directories=(Directory("/var/lib/mailwright"), Directory(STATE)),
        files=(
            File(PROGRAM, (folder / "mailwright-fence").read_bytes(), mode=0o755),
            *(File(f"/etc/systemd/system/{name}", text) for name, text in texts.items()),
        ),
    )


def _held(ctx: Context[Any]) -> tuple[str, ...]:
    return tuple(unit.name for unit in ctx.merged.units if unit.fenced)


def apply(ctx: Context[Any]) -> None:
    """Have systemd know which units wait for it; call it between the role's files and its units.

    They are links that enabling makes of the unit's `RequiredBy`, and a drop-in of another role's unit would
    have that restarted.
    """
    if units := _held(ctx):
        links = " && ".join(f"[ -L /etc/systemd/system/{name}.requires/{_UNIT} ]" for name in units)
        op.shell(
            ctx, "let what must not run twice wait for the fence", f"systemctl reenable -q {_UNIT}", links
        )


def checks(ctx: Context[Any]) -> Iterable[Check]:
    """The machine has not been replaced, and what it would hold back waits for it."""

    def judge(result: Result) -> str | None:
        return f"it has been replaced: {result.stdout.strip()}" if result.stdout.strip() else None

    yield Check(
        "the machine has not been replaced",
        f"cat {REPLACED} 2>/dev/null || :",
        judge,
        "if this is the old machine, take it away; if the store is wrong, mailwright apply to the keeper",
    )
    for name in _held(ctx):
        yield Check(
            f"{name} waits for the fence",
            f"systemctl show -P Requires {name}",
            lambda r: None if _UNIT in r.stdout.split() else "it would start on a replaced machine",
            "mailwright apply",
        )
