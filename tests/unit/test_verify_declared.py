"""The line of a fleet file that a report names is the one that asks for what is wrong."""

import pytest

from mailwright.model.fleet import Fleet
from mailwright.model.yamlfile import parse
from mailwright.verify.declared import Declarations
from mailwright.verify.expectation import Expectation, Joint

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2SBx1Hp0k0b4GTmRkYwCvhnAT2NTQzKUNP3Hbzrw0p"
FLEET = f"""\
owner: {{ name: Bright Post, postmaster: postmaster@brightpost.example }}
admins:
  - name: root2
    keys: ["{KEY}"]
defaults:
  debian: 12
machines:
  - name: out1
    fqdn: out1.brightpost.example
    ipv4: 203.0.113.11
    debian: 13
    roles:
      base: {{}}
      postfix: {{}}
  - name: out2
    fqdn: out2.brightpost.example
    ipv4: 203.0.113.12
    roles: {{ base: {{}}, postfix: {{}} }}
"""


@pytest.fixture
def line():
    """Returns a function: machine(s), role and name of a check to the line."""
    document = parse(FLEET.encode(), "prod.yaml")
    declarations = Declarations(Fleet.model_validate(document.data), document)

    def of(machines, role, name):
        if isinstance(machines, str):
            return declarations.of(Expectation(machines, role, name, lambda _: None, ""))
        return declarations.of(Joint(machines, role, name, lambda _: None, "", ""))

    return of


@pytest.mark.parametrize(
    ("machines", "role", "name", "expected"),
    [
        ("out1", "postfix", "file-/etc/postfix/main.cf", "prod.yaml:14"),
        ("out2", "postfix", "file-/etc/postfix/main.cf", "prod.yaml:18"),
        ("out1", "", "listeners", "prod.yaml:8"),
        ("out1", "", "release", "prod.yaml:11"),
        ("out2", "", "release", "prod.yaml:6"),
        ("out1", "base", "user-root2", "prod.yaml:3"),
        ("out1", "postfix", "user-policyd", "prod.yaml:14"),
        (("out2", "out1"), "postfix", "agreement-postfix-one", "prod.yaml:18"),
    ],
)
def test_a_role_has_its_line_on_its_machine_and_others_their_own(line, machines, role, name, expected):
    assert line(machines, role, name) == expected
