"""What a machine said is shown to an operator without giving it the operator's terminal."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from mailwright.command import console
from mailwright.verify.report import CheckReport
from mailwright.verify.reporter import Live
from mailwright.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postfix: fatal\n\tno such file", "postfix: fatal\n\tno such file"),
        ("Größe 7 µs, 東京", "Größe 7 µs, 東京"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nb\rc", "a\nb\\rc"),
        ("rm \u202e-rf", "rm \\u202e-rf"),
        ("\x9b2J\udc80", "\\x9b2J\\udc80"),
    ],
)
def test_what_would_move_hide_or_break_is_spelled_out(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize("tell", [console.say, console.note, console.problem])
def test_no_line_for_an_operator_has_a_control_character(tell, capsys):
    tell("found: \x1b[2J")
    assert "\x1b[2J" not in "".join(capsys.readouterr())


def test_no_line_about_a_check_has_one():
    check = CheckReport("a-b", "b", ("a",), "", "fail", "\x1b[2J", "\x1b[2J", note="\x1b[2J")
    out = StringIO()
    live = Live(Console(file=out, highlight=False, markup=False, soft_wrap=True), verbose=True)
    live.check(check)
    live.changes([check], datetime.now(UTC))
    assert "\x1b[2J" not in out.getvalue()
    assert "\\x1b[2J" in out.getvalue()
