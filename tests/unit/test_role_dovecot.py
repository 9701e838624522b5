"""Pins that Dovecot is told whose passwords to check, in the language of its release, and nothing more."""

import re
from base64 import b64decode

import pytest

from mailwright.model.errors import NeedsError, SecretError, UnknownError
from mailwright.model.role import Result, Role, Settings
from mailwright.model.submission import password_hash
from roles import dovecot

POSTFIX = Role("postfix", Settings, apply=lambda _: None)
FLEET = {
    "domains": [{"name": "brightpost.example"}],
    "senders": [{"login": "newsletter", "addresses": ["@brightpost.example"]}],
    "secrets": {"submission-salt": "salt", "submission/newsletter": "correct horse battery"},
}


@pytest.fixture
def plan(plan_of):
    return lambda **fleet: plan_of(dovecot.ROLE, POSTFIX, **FLEET | fleet)


def test_passwords_reach_the_host_as_hashes_that_only_dovecot_reads(plan):
    file = next(f for f in plan().merged.files if f.path == dovecot.PASSWORDS)
    expected = password_hash("newsletter", "correct horse battery", "salt")
    assert file.content.decode().splitlines()[1:] == [f"newsletter:{expected}"]
    assert (file.owner, file.group, file.mode, file.secret) == ("root", "dovecot", 0o640, True)
    assert b"horse" not in file.content


def test_a_login_without_a_password_is_a_mistake(plan):
    with pytest.raises(SecretError, match="submission/newsletter"):
        plan(secrets={"submission-salt": "salt"})


@pytest.mark.parametrize(
    ("debian", "words"),
    [(12, ("passdb {", "driver = passwd-file")), (13, ("dovecot_config_version", "passdb passwd-file {"))],
)
def test_the_configuration_is_in_the_language_of_the_release(plan, content_of, debian, words):
    text = content_of(plan(machine={"debian": debian}), dovecot.CONFIG)
    for word in words:
        assert word in text
    assert dovecot.PASSWORDS in text
    assert f"unix_listener {dovecot.SOCKET}" in text


def test_it_declares_no_port_and_puts_the_imap_socket_unit_away(plan):
    own = plan().by_role["dovecot"]
    assert own.ports == ()
    assert [u.name for u in own.units if u.masked] == ["dovecot.socket"]


def test_without_postfix_it_serves_nobody(plan_of):
    with pytest.raises(NeedsError, match="m1 has the role dovecot"):
        plan_of(dovecot.ROLE)


@pytest.mark.parametrize(
    ("stdout", "verdict"),
    [
        ("VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n", None),
        ("VERSION\t1\t2\nMECH\tLOGIN\tplaintext\nDONE\n", "PLAIN is not offered"),
        ("", "nothing speaks Dovecot's authentication protocol there"),
    ],
)
def test_the_socket_s_greeting_is_judged(plan, stdout, verdict):
    checks = {c.name: c for _, c in plan().checks()}
    assert checks["the authentication socket answers"].judge(Result(0, stdout, "")) == verdict


# As Dovecot 2.3 and 2.4 say it to a client of the socket.
GREETING = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t7757\nCUID\t1\nCOOKIE\tf1f3\nDONE\n"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("FAIL\t1\tuser=newsletter\n", None),
        ("OK\t1\tuser=newsletter\n", "it takes a password that nobody has"),
    ],
)
def test_a_wrong_password_must_be_refused(plan, answer, verdict):
    checks = {c.name: c for _, c in plan().checks()}
    assert checks["a wrong password is refused"].judge(Result(0, GREETING + answer, "")) == verdict


def test_no_verdict_on_a_password_is_unknown(plan):
    checks = {c.name: c for _, c in plan().checks()}
    with pytest.raises(UnknownError):
        checks["a wrong password is refused"].judge(Result(1, GREETING, ""))


def test_the_wrong_password_is_of_a_login_that_exists_and_no_secret(plan):
    (command,) = [c.command for _, c in plan().checks() if c.name == "a wrong password is refused"]
    words = b64decode(re.search(r"resp=([\w+/=]+)", command)[1]).split(b"\0")
    assert words == [b"", b"newsletter", b"no password of newsletter's"]
