"""Whatever is done to a fleet file: it loads, or every mistake is one line, and nothing is connected to."""

from __future__ import annotations

import copy
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwright.command.main import run
from mailwright.model.errors import FleetError
from mailwright.model.load import load_site
from mailwright.model.yamlfile import MAX_BYTES, parse
from roles import ROLES

INVENTORY = Path(__file__).parents[2] / "inventory"
EXAMPLE = (INVENTORY / "prod.yaml").read_bytes()
DATA = parse(EXAMPLE, "prod.yaml").data
BREAK = re.compile(rb"\r\n?|\n|\xc2\x85|\xe2\x80[\xa8\xa9]")  # as YAML counts lines
LINE = re.compile(r"fleet\.yaml:(\d+): \S.*")
JARGON = re.compile(r"pydantic|Input should|Value error|type=|function-|NoneType|dict_|<class|\[key\]")

quiet = settings(deadline=None, max_examples=100)

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["192.0.2.11", "10.0.0.999", "mx1", "all", "postfix", "news.example.com", "@", "a" * 300, "\n"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A working directory of our own, from which no connection can be opened."""

    class NoSocket(socket.socket):
        def __init__(self, *_: object, **__: object) -> None:
            raise AssertionError("a connection was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fleet"))
        patch.setattr(socket, "socket", NoSocket)
        yield


Where = tuple[str | int, ...]


def outcome(text: bytes) -> list[str]:
    """The mistakes of a fleet file, each checked to be fit to read."""
    file = Path("fleet.yaml")
    file.write_bytes(text)
    mistakes = attempt(file)
    for mistake in mistakes or ():
        found = LINE.fullmatch(mistake)
        assert found, mistake
        assert 1 <= int(found[1]) <= len(BREAK.findall(text)) + 1, mistake
        assert mistake.isprintable(), mistake
        assert not JARGON.search(mistake), mistake
    assert mistakes is None or 0 < len(set(mistakes)) == len(mistakes)
    return mistakes or []


def attempt(file: Path) -> list[str] | None:
    try:
        load_site(file, ROLES, environ={})
    except FleetError as error:
        return error.mistakes
    return None


def places(node: object, where: Where = ()) -> Iterator[Where]:
    yield where
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*where, key))


PLACES = list(places(DATA))[1:]


def mutated(where: Where, change: Callable[[Any, str | int], None], data: object = DATA) -> object:
    data = copy.deepcopy(data)
    holder = data
    for step in where[:-1]:
        holder = holder[step]
    change(holder, where[-1])
    return data


def as_yaml(data: object) -> bytes:
    return json.dumps(data, indent=1).encode()  # JSON is YAML


def test_the_example_itself_is_right():
    assert outcome(EXAMPLE) == []
    assert outcome(as_yaml(DATA)) == []


@quiet
@given(st.sampled_from(PLACES), junk)
def test_any_value_may_be_of_the_wrong_kind(where: Where, value: object):
    outcome(as_yaml(mutated(where, lambda holder, key: holder.__setitem__(key, value))))


@pytest.mark.parametrize("where", PLACES, ids=str)
def test_any_value_may_be_missing(where: Where):
    outcome(as_yaml(mutated(where, lambda holder, key: holder.pop(key))))


@pytest.mark.parametrize("where", [w for w in PLACES if isinstance(w[-1], str)], ids=str)
def test_any_key_may_be_misspelt(where: Where):
    found = outcome(
        as_yaml(mutated(where, lambda holder, key: holder.__setitem__(key + "x", holder.pop(key))))
    )
    # The names of networks and the labels of links are the operator's own choice.
    assert found or where[:-1] == ("networks",) or where[-2] == "links"


@pytest.mark.parametrize("where", [w for w in PLACES if w[0] == "machines" and len(w) == 2], ids=str)
def test_a_machine_twice_is_refused(where: Where):
    found = outcome(as_yaml(mutated(where, lambda holder, key: holder.append(holder[key]))))
    assert len(found) == 4, "name, fqdn, ipv4, ipv6"


@quiet
@given(st.lists(st.tuples(st.sampled_from(PLACES), junk), min_size=2, max_size=5))
def test_several_mistakes_at_once(changes: list[tuple[Where, object]]):
    data = DATA
    for where, value in changes:
        try:
            data = mutated(where, lambda holder, key, value=value: holder.__setitem__(key, value), data)
        except (TypeError, AttributeError, IndexError, KeyError):  # an earlier change took the place away
            continue
    outcome(as_yaml(data))


@quiet
@given(st.data())
def test_any_bytes_may_be_written_over_any_others(data: st.DataObject):
    start = data.draw(st.integers(0, len(EXAMPLE)))
    length = data.draw(st.integers(0, 40))
    snippets = st.sampled_from(
        [b"\t", b"\x00", b"\xff", b"- ", b"{", b"[", b"&a ", b"*a", b"!!x ", b"---\n", b"<<: ", b"%"]
    )
    outcome(EXAMPLE[:start] + data.draw(snippets | st.binary(max_size=20)) + EXAMPLE[start + length :])


@quiet
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_anything_at_all_may_be_called_a_fleet_file(content: bytes):
    assert outcome(content)


LAUGHS = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "1: empty"),
        (b"# nothing\n", "1: empty"),
        (b"- owner\n", "1: the top level must be `key: value` lines"),
        (b"\x7fELF\x00\x01", "1: a control character: this is not a text file"),
        ("owner: é\n".encode("latin-1"), "1: not UTF-8 text"),
        ("a: b\n".encode("utf-16"), "1: not UTF-8 text"),
        (b"owner:\n\tname: x\n", "2: not valid YAML: a tab: YAML indents and separates with spaces"),
        (b"owner: {name: x\nnetworks: {}\n", "not valid YAML"),
        (b"owner: a: b\n", "1: not valid YAML: an unexpected ': '"),
        (b"owner: *who\n", "1: not valid YAML: *who refers to an anchor &who that is not above it"),
        (b"owner: &a [*a]\n", "1: an anchor that contains itself"),
        (b"owner: 1\nowner: 2\n", "2: owner: said twice; first on line 1"),
        (b"owner: !!python/object/apply:os.system [id]\n", "1: owner: a tag has no meaning here"),
        (b"owner: x\n---\nowner: y\n", "2: not valid YAML: a second '---' document"),
        (b'owner: "\\0"\n', "1: owner: holds a control character"),
        (b"[" * 5000, "1: nested too deeply"),
        (LAUGHS, "1: more than 250000 values once its aliases are written out"),
        (b"#" * (MAX_BYTES + 1), "1: larger than 2 MiB, which is no fleet file"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_yaml_mapping(content: bytes, words: str):
    (mistake,) = outcome(content)
    assert words in mistake


@pytest.mark.parametrize(
    "command", [["secrets", "list"], ["secrets", "init"], ["dns", "plan"], ["plan"], ["apply"], ["verify"]]
)
@pytest.mark.parametrize("content", [b"", b"\x00", LAUGHS, EXAMPLE.replace(b"192.0.2.11", b"10.0.0.999")])
def test_every_command_says_the_lines_and_exits_1(
    command: list[str],
    content: bytes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    file = Path("fleet.yaml").absolute()
    expected = [line.replace(file.name, str(file)) for line in outcome(content)]
    assert expected
    monkeypatch.chdir(INVENTORY.parent)  # the roles are there
    assert run([*command, str(file)]) == 1
    output = capsys.readouterr()
    assert output.err.splitlines() == expected
    assert output.out == ""
