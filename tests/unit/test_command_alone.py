"""Commands that change one fleet take turns, also when its file is exchanged meanwhile."""

from __future__ import annotations

import pytest

from mailwright.command.alone import alone
from mailwright.command.guide import replace_text
from mailwright.model.errors import MailwrightError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prod.yaml"
    path.write_text("before\n")
    return path


def refused(file):
    with pytest.raises(MailwrightError, match="is at work on this fleet; run this again"), alone(file):
        pass


def test_who_rewrites_the_file_still_holds_the_fleet(file):
    with alone(file):
        refused(file)
        replace_text(file, "after\n")
        refused(file)


def test_it_is_held_by_every_name_that_it_has(file, tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    with alone(link):
        replace_text(link, "after\n")
        refused(file)


def test_the_next_one_gets_it_and_nothing_is_left_behind(file, tmp_path):
    for _ in range(2):
        with alone(file):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["prod.yaml"]


def test_what_a_killed_one_left_holds_nobody_up(file, tmp_path):
    (tmp_path / ".prod.yaml.lock").touch()
    with alone(file):
        refused(file)


def test_where_nothing_can_be_written_the_file_itself_is_held(file, tmp_path):
    (tmp_path / ".prod.yaml.lock").mkdir()  # for root, too, no lock file can be made there
    with alone(file):
        refused(file)
