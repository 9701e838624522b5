"""The command line's manners: one line an error, the right status, no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mailwright.command import console, main, schema
from mailwright.command.inventory import load_roles
from mailwright.command.main import COMMANDS, run
from mailwright.command.schema import fleet_schema
from mailwright.model.errors import FleetError, MailwrightError
from roles import ROLES

REPOSITORY = Path(__file__).parents[2]


def test_what_is_said_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]):
    text = '["2001:ab:cd::1", "[bold]x[/bold]", ":100:"]'
    console.say(text)
    console.note(text)
    console.problem(text)
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{text}\n", f"{text}\n" * 2)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mailwright ")


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["nonsense"], "mailwright"),
        (["schema", "--nonsense"], "mailwright schema"),
        (["secrets", "set"], "mailwright secrets set"),
        (["dns", "nonsense"], "mailwright dns"),
        (["verify"], "mailwright verify"),
    ],
)
def test_wrong_usage_is_an_error_and_not_a_change(
    arguments: list[str], where: str, capsys: pytest.CaptureFixture[str]
):
    assert run(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.endswith(f" ({where} --help)\n")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_whoever_asks_nothing_is_told_what_it_is_and_where_to_begin(
    words: list[str], capsys: pytest.CaptureFixture[str]
):
    run(words)
    said = capsys.readouterr().out
    assert "Turn bare Debian machines into a mail-sending fleet" in said
    assert "Begin with secrets init" in said


def test_an_allowance_that_allows_nothing_is_an_error(capsys: pytest.CaptureFixture[str]):
    assert run(["dns", "plan", "x.yaml", "--allow", "last-mx"]) == 1
    assert capsys.readouterr().err.startswith("--allow takes WHAT=NAME, ")


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    names = command.list_commands(None) if hasattr(command, "list_commands") else ()
    if not names:
        yield path
    for name in names:
        yield from _leaves(command.get_command(None, name), (*path, name))


LEAVES = [path for path in _leaves(typer.main.get_command(main.app)) if path[0] != "lab"]


def test_help_knows_every_subcommand():
    assert {("plan",), ("dns", "import"), ("dkim", "retire"), ("secrets", "set")} <= set(LEAVES)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_help_has_a_purpose_on_one_line_and_an_exit_status(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    assert lines[0].startswith(f"Usage: mailwright {' '.join(path)} ")
    assert re.search(r"^ Exit status: 0 .*?[;,]\s+1 ", out, re.MULTILINE | re.DOTALL)
    assert "completion" not in out


@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [
        (FleetError(["f.yaml:1: [red]a", "b" * 200]), 1, ["f.yaml:1: [red]a", "b" * 200]),
        (MailwrightError("x"), 1, ["x"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
    ],
)  # fmt: skip
def test_errors_are_lines_and_a_status(
    error: BaseException,
    status: int,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(schema, "fleet_schema", fail)
    assert run(["schema"]) == status
    assert capsys.readouterr().err.splitlines() == lines


def test_the_console_script_hands_the_status_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(main, "run", lambda _: 2)
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2


def test_output_into_a_pipe_has_no_colours_and_no_wrapping():
    command = [
        sys.executable,
        "-m",
        "mailwright",
        "secrets",
        "list",
        "no/such/" + "x" * 200 + ".yaml",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stderr == f"{command[-1]}:1: no such file\n"
    assert done.returncode == 1


def test_roles_come_from_the_folder_one_works_in(tmp_path: Path):
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "__init__.py").write_text("ROLES = ()\n")
    (tmp_path / "deep").mkdir()
    code = (
        "from mailwright.command.inventory import load_roles as l; l(); import roles; print(roles.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "deep", capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path}/roles/__init__.py\n"


def test_without_roles_there_is_a_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MailwrightError, match=r"no roles: there is no roles/__init__\.py in"):
        load_roles(tmp_path / "prod.yaml")


def test_roles_that_do_not_load_are_one_line(tmp_path: Path):
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "__init__.py").write_text("import nonsense_that_is_missing\n")
    command = [sys.executable, "-m", "mailwright", "schema"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{tmp_path}/roles does not load: ModuleNotFoundError: ")
    assert done.stderr.count("\n") == 1


def test_the_schema_in_the_repository_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(REPOSITORY)
    assert run(["schema", "--output", str(tmp_path / "schema.json")]) == 0
    kept = (REPOSITORY / "inventory" / "fleet.schema.json").read_text()
    assert (tmp_path / "schema.json").read_text() == kept, (
        "mailwright schema --output inventory/fleet.schema.json"
    )


@pytest.mark.parametrize("name", ["prod", "lab"])
def test_editors_find_the_schema_from_the_fleet_file(name: str):
    file = REPOSITORY / "inventory" / f"{name}.yaml"
    modeline = next(x for x in file.read_text().splitlines() if x.startswith("# yaml-language-server:"))
    assert (file.parent / modeline.partition("$schema=")[2]).is_file()


def test_the_schema_teaches_roles_and_their_settings():
    whole = fleet_schema(ROLES)
    machine = whole["$defs"]["Machine"]["properties"]["roles"]
    assert set(machine["properties"]) == {role.name for role in ROLES}
    assert machine["additionalProperties"] is False
    undescribed = [
        f"{name}.{key}"
        for name, definition in whole["$defs"].items()
        for key, field in definition.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert undescribed == []
