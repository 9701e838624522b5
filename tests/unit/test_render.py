"""Pins that a template can neither lose an argument nor take a second line from a value."""

from __future__ import annotations

import pytest

from mailwright import render as module
from mailwright.model.errors import MailwrightError
from mailwright.render import render


@pytest.fixture
def template(tmp_path, monkeypatch):
    """Returns a function that puts a template where `render` finds it as `role/t.j2`."""
    monkeypatch.setattr(module, "template_folders", lambda: (tmp_path,))
    module._environment.cache_clear()
    yield lambda text: ((tmp_path / "role").mkdir(), (tmp_path / "role/t.j2").write_text(text))
    module._environment.cache_clear()


def test_blocks_leave_no_lines_and_the_last_newline_stays(template):
    template("# top\n{% for x in xs %}\n  {% if x %}\nuse {{ x }}\n  {% endif %}\n{% endfor %}\nend\n")
    assert render("role/t.j2", xs=["a", "", "b"]) == b"# top\nuse a\nuse b\nend\n"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("a\nPermitRootLogin yes", "control characters"),
        ("a\rb", "control characters"),
        ("a\x00", "control characters"),
        (None, "is None"),
    ],
)
def test_a_value_that_is_not_one_line_is_refused(template, value, says):
    template("name {{ value }}\n")
    with pytest.raises(MailwrightError, match=says):
        render("role/t.j2", value=value)


def test_a_missing_argument_is_an_error(template):
    template("name {{ value }}\n")
    with pytest.raises(MailwrightError, match="'value' is undefined"):
        render("role/t.j2")


def test_a_missing_template_is_an_error(template):
    template("")
    with pytest.raises(MailwrightError, match="role/other"):
        render("role/other.j2")


def test_templates_lie_beside_the_roles_package():
    assert [folder.name for folder in module.template_folders()] == ["templates"]
