"""Imports point one way, maildns <- mailwright <- roles <- deploy.py: read from the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import dns.resolver
import pytest

ROOT = Path(__file__).parents[2]
OURS = ("maildns", "mailwright", "roles", "deploy")
MAY_IMPORT = {
    "dns/maildns": {"maildns"},
    "mailwright": {"maildns", "mailwright"},
    "roles": {"maildns", "mailwright", "roles"},
    "inventory": {"mailwright", "roles"},
}
PURE = (
    "mailwright/observe",
    "mailwright/model",
    "mailwright/render.py",
    *(f"mailwright/converge/{n}.py" for n in ("files", "units", "packages", "users", "sysctls", "shell")),
)
"""What decides. Nothing of it may reach for pyinfra, a network or another program."""
IMPURE = {"pyinfra", "pyinfra_cli", "paramiko", "subprocess", "socket", "gevent", "testinfra"}


def modules(place):
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imported(path):
    """The top-level names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield (node.module or "").partition(".")[0], node.lineno


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_imports_point_one_way(place):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(place)
        for name, line in imported(path)
        if name in OURS and name not in MAY_IMPORT[place]
    ]
    assert wrong == []


@pytest.mark.parametrize("place", PURE)
def test_what_decides_is_pure(place):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(place)
        for name, line in imported(path)
        if name in IMPURE
    ]
    assert wrong == []


def test_pyinfra_is_faced_in_one_place():
    faces = {
        path.relative_to(ROOT).parts[1]
        for path in modules("mailwright")
        if {"pyinfra", "pyinfra_cli"} & {name for name, _ in imported(path)}
    }
    assert faces == {"converge"}


def test_the_walk_would_see_an_arrow_that_runs_the_other_way(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("def f():\n    from roles import ROLES\n")
    assert list(imported(path)) == [("roles", 2)]


def test_dns_is_dnspython_and_not_our_folder():
    assert not (ROOT / "dns" / "__init__.py").exists()
    assert (ROOT / "dns") not in Path(dns.resolver.__file__).parents
    assert [p.name for p in (ROOT / "dns").iterdir() if not p.name.startswith(("__", "."))] == ["maildns"]
