"""What `--only` means: roles, machines and names of checks, and never nothing in silence."""

import pytest

from mailwright.model.errors import MailwrightError
from mailwright.verify.only import Subject, chosen


def subject(name, role, *machines):
    return Subject(name, f"{'+'.join(machines)}-{name}", role, machines)


SUBJECTS = [
    subject("release", "", "out1"),
    subject("port-25/tcp", "postfix", "out1"),
    subject("port-53/udp", "unbound", "out1"),
    subject("port-25/tcp", "postfix", "mx1"),
    subject("agreement", "keepalived", "out1", "mx1"),
    Subject("test_of_ours", "tests/hosts/test_ours.py::test_of_ours"),
    Subject("test_of_ours[a]", "tests/hosts/test_ours.py::test_of_ours[a]"),
]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([], [0, 1, 2, 3, 4, 5, 6]),
        (["out1"], [0, 1, 2]),
        (["out1", "mx1"], [0, 1, 2, 3, 4]),
        (["postfix"], [1, 3]),
        (["postfix", "unbound"], [1, 2, 3]),
        (["postfix", "out1"], [1]),
        (["port-*"], [1, 2, 3]),
        (["port-*", "release"], [0, 1, 2, 3]),
        (["port-*", "unbound", "out1"], [2]),
        (["mx1-port-25/tcp"], [3]),
        (["keepalived"], [4]),
        (["test_of_*"], [5, 6]),
        (["test_of_ours[a]"], [6]),
    ],
)
def test_words_of_a_kind_add_up_and_kinds_narrow_each_other(words, meant):
    assert [i for i, chose in enumerate(chosen(SUBJECTS, words)) if chose] == meant


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["postfx"], "--only postfx: no machine, role or check of that name; did you mean postfix?"),
        (["out1", "zzz-*"], "--only zzz-*: no machine, role or check of that name"),
        (["mx1", "unbound"], "--only mx1 --only unbound: no check is meant by all of that"),
    ],
)
def test_what_means_nothing_is_one_line(words, said):
    with pytest.raises(MailwrightError) as caught:
        chosen(SUBJECTS, words)
    assert str(caught.value) == said
