"""Nobody uses the fleet to send what is not theirs: every known trick, against every port that listens."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.mailing import auth_plain, doors, refusal, talk, transaction

pytestmark = pytest.mark.proof(
    "nobody relays, forges, submits or smuggles through the fleet, by any known trick"
)

EHLO = "EHLO outside.example\r\n"
OURS = "bounces@brightpost.example"
LOGIN = "newsletter"


@pytest.fixture(scope="module")
def open_doors(lab, site):
    found = doors(site, lab)
    assert found.keys() >= {25, 465, 587}
    return found


@pytest.fixture(scope="module")
def everywhere(lab, open_doors):
    """Returns a function: what servers say on a port of each host that opens it, over IPv4 and IPv6."""

    def ask(port, *say, tls=None):
        places = [(h.name, a) for h, m in open_doors[port] for a in m.addresses]
        with ThreadPoolExecutor(len(places)) as pool:
            said = pool.map(lambda at: talk(lab.host("outside"), at[1], port, *say, tls=tls), places)
        return dict(zip(places, said, strict=True))

    return ask


@pytest.fixture(scope="module")
def login(site):
    return auth_plain(LOGIN, site.secrets.get(f"submission/{LOGIN}"))


def assert_refused(found, *answers):
    """Every server refused, with one of the answers: a code and an enhanced code (RFC 3463)."""
    for where, replies in found.items():
        last = refusal(replies)
        assert f"{last.code} {last.lines[0].split(' ')[0]}" in answers, f"{where}: {last}"


# --- port 25: only mail to us, and only from somebody else

FOREIGN = {
    "foreign to foreign": ("stranger@outside.example", "anna@mailbox.example"),
    "null sender": ("", "anna@mailbox.example"),
    "percent hack": ("stranger@outside.example", "anna%mailbox.example@brightpost.example"),
    "percent hack by address": ("stranger@outside.example", "anna%mailbox.example@[{address}]"),
    "percent hack by host name": ("stranger@outside.example", "anna%mailbox.example@{host}"),
    "source route": ("stranger@outside.example", "@brightpost.example:anna@mailbox.example"),
    "source route through us": (
        "stranger@outside.example",
        "@{host},@brightpost.example:anna@mailbox.example",
    ),
    "bang path": ("stranger@outside.example", "mailbox.example!anna@brightpost.example"),
    "bang path alone": ("stranger@outside.example", "mailbox.example!anna"),
    "quoted local part": ("stranger@outside.example", '"anna@mailbox.example"@brightpost.example'),
    "quoted local part at the host": ("stranger@outside.example", '"anna@mailbox.example"@{host}'),
    "quoted percent hack": ("stranger@outside.example", '"anna%mailbox.example"@brightpost.example'),
    "quoted bang path": ("stranger@outside.example", '"mailbox.example!anna"@brightpost.example'),
    "two at signs": ("stranger@outside.example", "anna@mailbox.example@brightpost.example"),
    "from ourselves to foreign": ("postmaster@{host}", "anna@mailbox.example"),
    "from the address itself": ("postmaster@[{address}]", "anna@mailbox.example"),
    "a user nobody has": ("stranger@outside.example", "nobody-of-that-name@brightpost.example"),
    "a system account": ("stranger@outside.example", "www-data@{host}"),
}


@pytest.mark.parametrize("trick", FOREIGN)
def test_port_25_relays_nothing(lab, open_doors, trick):
    sender, recipient = FOREIGN[trick]
    for _, machine in open_doors[25]:
        for address in machine.addresses:
            literal = str(address) if address.version == 4 else f"IPv6:{address}"
            names = {"host": machine.fqdn.bare, "address": literal}
            words = transaction(sender.format(**names), recipient.format(**names))[:2]
            replies = talk(lab.host("outside"), address, 25, EHLO, *words)
            # 554 relaying denied, 550 no such user or not the owner of that name, 501 not an address
            assert_refused({f"{machine.name} {address}": replies}, *REFUSED)


REFUSED = ("554 5.7.1", "550 5.1.1", "550 5.7.1", "501 5.1.3", "504 5.5.2")


@pytest.mark.parametrize(
    "sender", ["news@brightpost.example", "orders@parcelnote.example", "Orders+1@ParcelNote.Example"]
)
def test_nobody_outside_sends_in_our_name(everywhere, sender):
    assert_refused(everywhere(25, EHLO, *transaction(sender, OURS)), "550 5.7.1")


def test_nor_in_the_name_of_our_machines(site, everywhere):
    for machine in site.fleet.machines:
        assert_refused(everywhere(25, EHLO, *transaction(f"root@{machine.fqdn.bare}", OURS)), "550 5.7.1")


def test_what_is_for_us_is_taken(everywhere):
    found = everywhere(25, EHLO, *transaction("stranger@outside.example", OURS)[:2])
    assert {refusal(replies).code for replies in found.values()} == {250}


def test_a_bounce_has_one_recipient(everywhere):
    words = transaction("", OURS, "orders@parcelnote.example")
    assert_refused(everywhere(25, EHLO, *words[:4]), "550 5.5.3")


@pytest.mark.parametrize("word", ["VRFY root", "EXPN staff", "ETRN brightpost.example", "BDAT 3 LAST"])
def test_port_25_has_no_such_command(everywhere, word):
    for replies in everywhere(25, EHLO, f"{word}\r\n").values():
        assert replies[-1].code in (500, 502, 521, 554), replies[-1]


def test_port_25_knows_no_logins(everywhere, login):
    for replies in everywhere(25, EHLO, login).values():
        assert not [line for line in replies[1].lines if line.upper().startswith("AUTH")]
        assert replies[-1].code == 503
    for replies in everywhere(25, EHLO, login, tls="starttls").values():
        assert replies[-1].code == 503


# --- the submission ports: only logins, only within TLS, only as themselves


@pytest.mark.parametrize(("port", "tls"), [(587, "starttls"), (465, "wrapped")])
def test_submission_without_a_login_is_refused(everywhere, port, tls):
    words = transaction("news@brightpost.example", "anna@mailbox.example")
    assert_refused(everywhere(port, EHLO, *words[:2], tls=tls), "530 5.7.0")
    assert_refused(
        everywhere(port, EHLO, *transaction("stranger@outside.example", OURS)[:2], tls=tls), "530 5.7.0"
    )


def test_nothing_is_submitted_before_tls(everywhere, login):
    for replies in everywhere(587, EHLO, login).values():
        assert not [line for line in replies[1].lines if line.upper().startswith("AUTH")]
    assert_refused(everywhere(587, EHLO, login), "530 5.7.0")
    assert_refused(everywhere(587, EHLO, "MAIL FROM:<news@brightpost.example>\r\n"), "530 5.7.0")
    assert_refused(everywhere(587, "VRFY root\r\n"), "530 5.7.0", "503 5.5.1")


def test_a_command_injected_before_tls_is_forgotten(everywhere):  # CVE-2011-0411 and its kin
    for replies in everywhere(587, EHLO, "STARTTLS\r\nNOOP injected\r\n").values():
        assert replies[-1].code in (0, 220, 421, 501, 554), replies[-1]
        assert "2.0.0 Ok" not in str(replies[-1])


@pytest.fixture
def guessing(open_doors):
    """Lets a test guess passwords: the servers remember the address of one who does, and here forget it."""

    def forget():
        for host, _ in open_doors[587]:
            host.run("systemctl restart dovecot").require()

    forget()
    yield
    forget()


@pytest.mark.usefixtures("guessing")
@pytest.mark.parametrize(("port", "tls"), [(587, "starttls"), (465, "wrapped")])
@pytest.mark.parametrize("name", [LOGIN, "nobody-of-that-name"])
def test_a_wrong_password_is_refused(everywhere, name, port, tls):
    wrong = auth_plain(name, "wrong-password-of-length")
    assert_refused(everywhere(port, EHLO, wrong, tls=tls), "535 5.7.8")


@pytest.mark.usefixtures("guessing")
def test_a_program_with_an_old_password_does_not_shut_the_others_out(everywhere, login):
    old = [auth_plain(LOGIN, "wrong-password-of-length")] * 3
    everywhere(465, EHLO, *old, tls="wrapped")
    for replies in everywhere(465, EHLO, login, tls="wrapped").values():
        assert replies[-1].code == 235, replies[-1]


@pytest.mark.parametrize(
    "sender",
    [
        "orders@parcelnote.example",
        "stranger@mailbox.example",
        "news@sub.brightpost.example",
        '"news@brightpost.example"@mailbox.example',
        "@brightpost.example:news@mailbox.example",
        "",
    ],
)
@pytest.mark.parametrize(("port", "tls"), [(587, "starttls"), (465, "wrapped")])
def test_a_login_sends_as_itself_only(everywhere, login, port, tls, sender):
    words = transaction(sender, "anna@mailbox.example")
    assert_refused(everywhere(port, EHLO, login, *words[:2], tls=tls), "553 5.7.1")


@pytest.mark.parametrize(("port", "tls"), [(587, "starttls"), (465, "wrapped")])
def test_a_login_s_own_mail_is_taken(everywhere, login, port, tls):
    words = transaction("bounces+1@brightpost.example", "anna@mailbox.example")
    found = everywhere(port, EHLO, login, *words[:2], tls=tls)
    assert {refusal(replies).code for replies in found.values()} == {250}


# --- SMTP smuggling

ENDS = {
    "LF . LF": "\n.\n",
    "LF . CRLF": "\n.\r\n",
    "CRLF . LF": "\r\n.\n",
    "LF . CR": "\n.\r",
    "CR . LF": "\r.\n",
    "CR . CR": "\r.\r",
    "CR . CRLF": "\r.\r\n",
    "CRLF . CR": "\r\n.\r",
    "CRLF . CR CRLF": "\r\n.\r\r\n",
    "CR CRLF . CRLF": "\r\r\n.\r\n",
    "CRLF . NUL CRLF": "\r\n.\0\r\n",
    "CRLF NUL . CRLF": "\r\n\0.\r\n",
    "CRLF . NUL LF": "\r\n.\0\n",
    "NUL LF . CRLF": "\0\n.\r\n",
}


def smuggle(end, sender, token):
    """A body whose end is misspelt, and behind it a whole second transaction."""
    second = "".join(transaction(sender, OURS, body=f"From: {sender}\r\nSubject: {token}\r\n\r\nsmuggled"))
    return f"From: {sender}\r\nSubject: first of {token}\r\n\r\nhello{end}{second}"


def assert_nothing_was_smuggled(open_doors, found, token):
    for where, replies in found.items():
        last = refusal(replies)
        assert last.code == 550, f"{where}: {last}"
        assert last.lines[0].split(" ")[0] in ("5.5.2", "5.7.1"), f"{where}: {last}"
    for host, _ in open_doors[25]:
        # A message that got in has been queued by the time of the answer, and is then here or there.
        places = "/srv/mail /var/spool/postfix/incoming /var/spool/postfix/active /var/spool/postfix/deferred"
        assert host.run(f"grep -rl {token} {places}").stdout == ""


@pytest.mark.parametrize("end", ENDS)
def test_no_misspelt_end_of_data_lets_a_second_message_in(open_doors, everywhere, end):
    token = uuid.uuid4().hex
    sender = "stranger@outside.example"
    words = [*transaction(sender, OURS)[:3], smuggle(ENDS[end], sender, token)]
    assert_nothing_was_smuggled(open_doors, everywhere(25, EHLO, *words), token)


@pytest.mark.parametrize("end", ENDS)
def test_nor_does_it_let_one_out(lab, open_doors, everywhere, login, end):
    token = uuid.uuid4().hex
    sender = "news@brightpost.example"
    words = [login, *transaction(sender, "anna@mailbox.example")[:3], smuggle(ENDS[end], sender, token)]
    found = everywhere(587, EHLO, *words, tls="starttls")
    assert_nothing_was_smuggled(open_doors, found, token)
    assert [m for m in lab.mailbox.messages("anna") if token.encode() in m.raw] == []
