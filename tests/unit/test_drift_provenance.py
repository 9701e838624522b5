"""Who a record says was here: the operator, the commit, and whether the repository was as that commit."""

import subprocess

import pytest

from mailwright.drift import provenance


def git(folder, *arguments):
    who = ["-c", "user.name=Test", "-c", "user.email=test@mailbox.example"]
    return subprocess.run(
        ["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def fleet(tmp_path):
    """A fleet file in a repository of its own."""
    file = tmp_path / "inventory" / "prod.yaml"
    file.parent.mkdir()
    file.write_text("owner: {}\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "A fleet")
    provenance._commit.cache_clear()
    return file


def test_the_commit_is_the_one_that_is_checked_out(fleet):
    applied = provenance.applied(fleet)
    assert (applied.commit, applied.dirty) == (git(fleet.parent, "rev-parse", "HEAD"), False)


def test_a_change_that_is_not_committed_shows(fleet):
    fleet.write_text("owner: {name: Test}\n")
    assert provenance.applied(fleet).dirty


def test_a_fleet_outside_of_any_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    provenance._commit.cache_clear()
    applied = provenance.applied(tmp_path / "prod.yaml")
    assert (applied.commit, applied.dirty) == ("", False)


def test_who_it_was_is_the_account_here_or_what_the_pipeline_says(fleet, monkeypatch):
    assert "@" in provenance.applied(fleet).by
    monkeypatch.setenv(provenance.BY, "ann by pipeline 42")
    assert provenance.applied(fleet).by == "ann by pipeline 42"
    monkeypatch.setenv(provenance.BY, "two\nlines")
    assert "\n" not in provenance.applied(fleet).by


def test_the_digest_is_that_of_the_fleet_file_and_its_keyring(fleet):
    digests = {provenance.fleet_digest(fleet)}
    provenance.keyring_file(fleet).write_text("{}")
    digests.add(provenance.fleet_digest(fleet))
    fleet.write_text("owner: {name: Other}\n")
    digests.add(provenance.fleet_digest(fleet))
    assert len(digests) == 3
