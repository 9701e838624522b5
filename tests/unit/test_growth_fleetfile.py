"""One machine more or less changes the lines that are meant, and no other octet of a fleet file."""

import difflib

import pytest
from ruamel.yaml import YAML

from mailwright.growth.fleetfile import (
    NewMachine,
    closed_machine,
    opened_machine,
    with_machine,
    without_machine,
)
from mailwright.model.errors import FleetError

FILE = """\
# The fleet of Bright Post.
domains:
  - name: brightpost.example
    mx: [mx1, out1]   # two of them
    dkim:
      - { selector: r2026,   algorithm: rsa }
    clients: { submissions: [out1], submission: [out1, out2] }

pools:
  - name: outgoing
    members:
      - out1 # the oldest
      - out2

machines:
  # The senders.
  - name: out1 # in the first rack
    fqdn: out1.brightpost.example
    debian: 12   # not upgraded yet
    ipv4: 192.0.2.11
    ipv6: 2001:db8::11
    labels: [sending]
    roles: &sending
      base: {}
      # Where it matters.
      postfix: { queue_lifetime: 2d }
  - name: out2
    fqdn: out2.brightpost.example
    ipv4: 192.0.2.12
    ipv6: 2001:db8::12
    labels: [sending]
    roles: *sending # as above

  - name: mx1
    fqdn: mx1.brightpost.example
    ipv4: 192.0.2.21
    roles: { base: {}, postfix: *sending }
"""
OUT3 = NewMachine("out3", "out3.brightpost.example", "192.0.2.13", "2001:db8::13")


def changed(before, after):
    """The lines that went and came."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[:1] in "+-"]


def test_a_machine_like_another_stands_below_it_and_wherever_that_is_named():
    assert changed(FILE, with_machine(FILE, "out2", OUT3)) == [
        "-     clients: { submissions: [out1], submission: [out1, out2] }",
        "+     clients: { submissions: [out1], submission: [out1, out2, out3] }",
        "+       - out3",
        "+   - name: out3",
        "+     fqdn: out3.brightpost.example",
        "+     ipv4: 192.0.2.13",
        "+     ipv6: 2001:db8::13",
        "+     labels: [sending]",
        "+     roles: *sending",
    ]


def test_what_an_anchor_holds_is_said_by_an_alias_and_remarks_stay_where_they_were_made():
    text = with_machine(FILE, "out1", OUT3)
    assert [line for line in changed(FILE, text) if "mx" not in line and "clients" not in line] == [
        "+       - out3",
        "+   - name: out3",
        "+     fqdn: out3.brightpost.example",
        "+     debian: 12",
        "+     ipv4: 192.0.2.13",
        "+     ipv6: 2001:db8::13",
        "+     labels: [sending]",
        "+     roles: *sending",
    ]
    assert text.index("- out1 # the oldest\n      - out3\n      - out2")


def test_the_last_line_may_lack_its_end():
    new = NewMachine("mx2", "mx2.brightpost.example", "192.0.2.22")
    assert with_machine(FILE.rstrip("\n"), "mx1", new).endswith("postfix: *sending }\n")


@pytest.mark.parametrize("name", ["out1", "out2", "mx1"])
def test_lines_end_as_they_did(name):
    crlf = FILE.replace("\n", "\r\n")
    for edited in (
        lambda text: with_machine(text, name, _like(name)),
        lambda text: without_machine(text, name),
    ):
        assert edited(crlf) == edited(FILE).replace("\n", "\r\n")


def test_a_machine_goes_with_its_name_in_lists_that_have_others():
    assert changed(FILE, without_machine(FILE, "out2")) == [
        "-     clients: { submissions: [out1], submission: [out1, out2] }",
        "+     clients: { submissions: [out1], submission: [out1] }",
        "-       - out2",
        "-   - name: out2",
        "-     fqdn: out2.brightpost.example",
        "-     ipv4: 192.0.2.12",
        "-     ipv6: 2001:db8::12",
        "-     labels: [sending]",
        "-     roles: *sending # as above",
    ]


def test_an_anchor_moves_to_the_first_who_refers_to_it():
    text = without_machine(FILE, "out1")
    machines = {m["name"]: m for m in YAML(typ="safe", pure=True).load(text)["machines"]}
    assert machines["out2"]["roles"] == {"base": {}, "postfix": {"queue_lifetime": "2d"}}
    assert machines["mx1"]["roles"]["postfix"] == machines["out2"]["roles"]
    assert "# Where it matters." in text  # the remark moves with what it is about
    assert "mx: [mx1]   # two of them" in text


def test_the_only_name_of_a_list_stays_for_whoever_checks_the_fleet():
    assert "submissions: [out1]" in without_machine(FILE, "out1")


@pytest.mark.parametrize("name", ["out1", "out2", "mx1"])
def test_what_is_added_and_taken_away_again_leaves_every_octet_as_it_was(name):
    assert without_machine(with_machine(FILE, name, _like(name)), "new") == FILE


def _like(name):
    return NewMachine(
        "new", "new.brightpost.example", "192.0.2.99", None if name == "mx1" else "2001:db8::99"
    )


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (FILE.replace("name: out2\n", "name: out9\n"), "the fleet has no machine out2"),
        (FILE.replace("labels: [sending]\n    roles: *", "ssh: { address: a }\n    roles: *"), "ssh.address"),
        ("machines: [{ name: out2, fqdn: a.example }]\n", "edit the fleet file by hand"),
        (FILE.replace("    ipv4: 192.0.2.12\n", ""), "out2 has no ipv4"),
    ],
)
def test_what_cannot_be_edited_is_said(file, sentence):
    with pytest.raises(FleetError, match=sentence):
        with_machine(file, "out2", OUT3)


def test_a_form_that_would_come_out_wrong_is_refused_and_not_written():
    machine = FILE[FILE.index("  - name: out2") : FILE.index("  - name: mx1")]
    odd = "  - { name: out2, fqdn: out2.brightpost.example,\n      ipv4: 192.0.2.12, roles: *sending }\n"
    file = FILE.replace(machine, odd)
    with pytest.raises(FleetError, match="by hand"):
        with_machine(file, "out2", OUT3)


def test_a_machine_is_closed_by_a_line_below_its_name_and_opened_by_taking_that_out():
    closed = closed_machine(FILE, "out1")
    assert changed(FILE, closed) == ["+     closed: true"]
    assert closed_machine(closed, "out1") == closed
    assert opened_machine(closed, "out1") == FILE
    assert opened_machine(FILE, "out1") == FILE


@pytest.mark.parametrize("name", ["out2", "mx1"])
def test_closed_and_opened_again_leaves_every_octet_as_it_was(name):
    flow = FILE.replace(
        "  - name: mx1\n    fqdn: mx1.brightpost.example\n", "  - { name: mx1, fqdn: mx1.example,\n"
    )
    flow = flow.replace("    ipv4: 192.0.2.21\n    roles:", "      ipv4: 192.0.2.21, roles:").replace(
        "*sending }\n", "*sending }}\n"
    )
    for file in (FILE, flow, FILE.replace("\n", "\r\n")):
        assert opened_machine(closed_machine(file, name), name) == file
        assert closed_machine(file, name) != file


def test_what_says_that_it_is_open_is_closed_too():
    said = FILE.replace("    ipv4: 192.0.2.12\n", "    ipv4: 192.0.2.12\n    closed: false # for now\n")
    assert opened_machine(closed_machine(said, "out2"), "out2") == FILE


def test_a_machine_that_is_not_there_is_neither_closed_nor_opened():
    for edit in (closed_machine, opened_machine):
        with pytest.raises(FleetError, match="no machine out9"):
            edit(FILE, "out9")
