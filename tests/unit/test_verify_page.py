"""The page of a verification as text, and where its drawing puts things. A browser reads it in tests/page."""

import itertools
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mailwright.verify.drawing import WIDTH, draw
from mailwright.verify.page import render, verdict
from mailwright.verify.report import CheckReport
from tests.page import pageworld as world

SELF_CLOSING = {"meta", "input"}
SVG = {"svg", "symbol", "circle", "path", "rect", "use"}


class Read(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in SELF_CLOSING:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def fleet(tmp_path):
    return world.fleet(tmp_path)


@pytest.fixture
def page(fleet):
    return render(world.some_of_each(), fleet)


def found(text):
    return world.report({"out1": [replace(world.MODE, found=text)]})


def test_every_tag_that_is_opened_is_closed(page):
    assert Read(page).open == []


def test_the_same_report_gives_the_same_page(page, fleet):
    assert render(world.some_of_each(), fleet) == page


def test_a_failure_has_all_that_an_operator_needs(page):
    text = Read(page).text
    for part in (world.MODE.expected, world.MODE.found, world.MODE.declared, world.MODE.remedy):
        assert part in text


def test_what_a_machine_printed_is_text_and_nothing_else(page):
    read = Read(page)
    assert world.HOSTILE in read.text
    assert "img" not in {tag for tag, _ in read.tags}
    assert [tag for tag, _ in read.tags].count("script") == 1


@pytest.mark.parametrize("place", ["name", "role", "expected", "found", "remedy", "declared", "note", "id"])
@pytest.mark.parametrize("outcome", ["fail", "pass"])
def test_no_text_of_a_check_becomes_markup(fleet, place, outcome):
    check = replace(world.MODE, outcome=outcome, **{place: '"><b title="x" onclick=\'x\'>'})
    tags = Read(render(world.report({"out1": [check]}), fleet)).tags
    assert not [tag for tag, attributes in tags if tag == "b" or "onclick" in attributes]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("rm \u202egpj.x", "rm \\u202egpj.x"),
        ("a\u200bb", "a\\u200bb"),
        ("\udcff", "\\udcff"),
        ("\x00", "\\x00"),
        ("220 a\r\n250 b", "220 a\n250 b"),
        ("Grüße\t+", "Grüße\t+"),
    ],
)
def test_what_would_be_invisible_or_turn_text_around_is_spelled_out(fleet, printed, shown):
    page = render(found(printed), fleet)
    assert f">{shown}<" in page
    page.encode()


def test_nothing_is_loaded_from_anywhere(page):
    addresses = [
        value
        for _, attributes in Read(page).tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "style")
    ]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert "url(http" not in page
    assert "@import" not in page


def test_the_policy_lets_nothing_in_but_the_style_and_the_script(page):
    policies = [a["content"] for _, a in Read(page).tags if "http-equiv" in a]
    (policy,) = policies
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_every_outcome_has_a_sign_of_its_own(page):
    signs = {a["href"] for tag, a in Read(page).tags if tag == "use"}
    assert {"#mark-pass", "#mark-fail", "#mark-unknown", "#mark-skipped"} <= signs
    assert signs <= {f"#{a['id']}" for tag, a in Read(page).tags if tag == "symbol"}


def test_links_lead_to_places_of_the_page(page):
    tags = Read(page).tags
    places = {f"#{a['id']}" for _, a in tags if "id" in a}
    assert {a["href"] for tag, a in tags if tag == "a"} <= places


def test_a_hundred_failures_are_folded_and_two_are_not(fleet):
    def unfolded(number):
        checks = [replace(world.MODE, id=f"{i}", name=f"{i}") for i in range(number)]
        tags = Read(render(world.report({"out1": checks}), fleet)).tags
        return [a for tag, a in tags if tag == "details" and "problem" in a["class"] and "open" in a]

    assert len(unfolded(2)) == 2
    assert unfolded(100) == []


def unknown(machine):
    return CheckReport(f"{machine}-x", "x", (machine,), "base", "unknown", "", "no route to host")


OWN = CheckReport("tests/hosts/test_own.py::test_x", "test_x", (), "", "fail", "", "assert 0")
"""A test that the fleet's own repository adds."""


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (world.report({"out1": world.well("out1", "base")}), "All 3 checks on out1 passed."),
        (
            world.report({name: world.well(name, "base") for name in ("a", "b", "c", "d")}),
            "All 12 checks on 4 machines passed.",
        ),
        (
            world.some_of_each(),
            "out1 is not what the fleet file says (2 of 34 checks failed); lb2 could not be judged.",
        ),
        (
            world.report({"lb2": [unknown("lb2")]}),
            "Nothing is known to be wrong, but lb2 could not be judged.",
        ),
        (
            world.report({"lb2": [*world.well("lb2", "base"), unknown("lb2")]}),
            "Nothing is known to be wrong, but lb2 could not be judged in full.",
        ),
        (
            world.report(
                {"lb1": world.well("lb1", "base")},
                [CheckReport("x", "x", ("lb1", "lb2"), "keepalived", "fail", "one", "two")],
            ),
            "lb1 and lb2 do not agree with each other (1 of 4 checks failed).",
        ),
        (
            world.report({name: [replace(world.MODE, machines=(name,))] for name in "abcde"}),
            "a, b, c and 2 more are not what the fleet file says (5 of 5 checks failed).",
        ),
        (
            world.report({"out1": [*world.well("out1", "base"), replace(world.MODE, outcome="skipped")]}),
            "3 of 4 checks on out1 passed, and none failed.",
        ),
        (
            world.report({"out1": world.well("out1", "base")}, [OWN]),
            "Not all tests of this repository pass (1 of 4 checks failed).",
        ),
        (
            world.report({"out1": world.well("out1", "base")}, [replace(OWN, outcome="unknown")]),
            "Nothing is known to be wrong, but a test of this repository could not be judged.",
        ),
        (world.report({"out1": []}), "Nothing was checked."),
    ],
)
def test_the_verdict_is_one_sentence_that_claims_no_more_than_was_seen(report, sentence):
    assert verdict(report) == sentence


def boxes(drawing):
    return [part.box for part in (*drawing.frames, *drawing.doors)] + [drawing.world]


def test_every_machine_of_the_fleet_is_drawn_once(fleet):
    drawing = draw(world.some_of_each(), fleet)
    names = [node.name for frame in drawing.frames for node in frame.nodes]
    assert sorted(names) == sorted(machine.name for machine in fleet.machines)


def test_a_virtual_address_has_the_verdict_of_what_its_balancers_agree_on(fleet):
    doors = {door.title: door.verdict for door in draw(world.some_of_each(), fleet).doors}
    assert doors == {
        "smtp.brightpost.example": "unknown",
        "mx.brightpost.example": None,
        "MX of brightpost.example": None,
        "submission": None,
    }


def test_a_machine_that_was_not_asked_has_no_verdict(fleet):
    nodes = {n.name: n for frame in draw(world.some_of_each(), fleet).frames for n in frame.nodes}
    assert nodes["util1"].report is None
    assert nodes["lb2"].report.verdict == "unknown"


@pytest.mark.parametrize("many", [2, 3, 4, 30])
def test_nothing_is_drawn_over_anything_else_or_outside(fleet, many):
    out1, *others = fleet.machines
    more = tuple(out1.model_copy(update={"name": f"more{i}"}) for i in range(many))
    pools = (
        fleet.pools[0].model_copy(update={"members": tuple(m.name for m in more)}),
        *(fleet.pools[0].model_copy(update={"name": f"p{i}", "members": ("mx1",)}) for i in range(many)),
    )
    wide = fleet.model_copy(update={"machines": (*more, out1, *others), "pools": pools})
    drawing = draw(world.some_of_each(), wide)
    nodes = [node.box for frame in drawing.frames for node in frame.nodes]
    assert len(nodes) == len(wide.machines)
    for group in (boxes(drawing), nodes):
        for a, b in itertools.combinations(group, 2):
            apart = a.right < b.x or b.right < a.x or a.bottom < b.y or b.bottom < a.y
            assert apart, (a, b)
        assert all(a.x >= 0 and a.right <= WIDTH and a.y >= 0 and a.bottom <= drawing.height for a in group)
    balancers = [frame.box for frame in drawing.frames if frame.title == "balancers"]
    for line in drawing.lines:
        assert line.left.right <= line.bend < line.right.x
        for box in balancers:  # a line that does not end or begin there passes by
            across = line.left.right < box.x and line.right.x > box.right
            assert not across or (line.left.middle > box.bottom and line.bend >= box.right)


def test_a_fleet_without_pools_mail_and_world_is_drawn_as_its_machines(fleet):
    bare = fleet.model_copy(update={"machines": fleet.machines[-1:], "pools": (), "domains": ()})
    drawing = draw(world.report({}), bare)
    assert (drawing.world, drawing.doors, drawing.lines) == (None, (), ())
    assert [frame.title for frame in drawing.frames] == ["machines"]
