"""`mailwright ci`: what lint finds in a repository, whole, whatever is amiss; what a plan leaves behind."""

import shutil
from pathlib import Path

import pytest

from mailwright.command import main
from mailwright.model.identities import draw

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path, monkeypatch, capsys):
    """The folder of the worked example, with the secrets that could be made: the present one."""
    for name in ("prod.yaml", "prod.py", "fleet.schema.json"):
        (tmp_path / "inventory").mkdir(exist_ok=True)
        shutil.copy(ROOT / "inventory" / name, tmp_path / "inventory" / name)
    for name in ("deploy.py", "roles", "templates"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILWRIGHT_AGE_IDENTITY", draw().text)
    for name in ("SSH_AUTH_SOCK", "GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    assert main.run(["secrets", "init", "inventory/prod.yaml"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def lint(repository, capsys):
    """A function that lints it; status and lines."""

    def call(*options):
        status = main.run(["ci", "lint", str(repository / "inventory" / "prod.yaml"), *options])
        return status, capsys.readouterr().out.splitlines()

    return call


def test_without_secrets_only_what_needs_none_is_judged(lint):
    hosts = "inventory/prod.known_hosts"
    assert lint("--without-secrets") == (
        1,
        [
            "ok     fleet file: inventory/prod.yaml",
            "ok     schema: inventory/fleet.schema.json",
            f"FAULT  host keys: {hosts}: not pinned: out1, out2, mx1: `mailwright hostkeys pin`",
        ],
    )


def test_every_secret_that_is_missing_is_named_and_so_is_all_else(lint):
    status, lines = lint()
    assert status == 1
    missing = next(line for line in lines if line.startswith("FAULT  secrets: the "))
    assert all(name in missing for name in ("certificate/smtp/privkey", "tsig/primary"))
    assert any(line.startswith("FAULT  secrets: a recovery key") for line in lines)
    assert any(line.startswith("FAULT  login: out1, out2, mx1") for line in lines)
    assert lines[-1].startswith("FAULT  dns: ")


def test_a_folder_of_reports_that_is_none_is_one_line(repository, capsys):
    (repository / "reports").write_text("a file")
    assert main.run(["ci", "plan", "inventory/prod.yaml"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "reports: cannot be made: File exists"


def test_a_plan_that_cannot_be_made_leaves_no_older_one_to_be_approved(repository, capsys):
    (repository / "reports").mkdir()
    (repository / "reports" / "plan.json").write_text("{}")
    (repository / "inventory" / "prod.yaml").write_text("machines: 3")
    assert main.run(["ci", "plan", "inventory/prod.yaml"]) == 1
    assert not (repository / "reports" / "plan.json").exists()
    assert "inventory/prod.yaml:1: machines" in capsys.readouterr().err
