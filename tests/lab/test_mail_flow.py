"""Mail from a login of the fleet arrives and is believed; mail that only claims to be ours is not."""

import re
import uuid

import pytest

from tests.lab.mailing import auth_plain, dkimpy_verdicts, doors, refusal, talk, transaction

LOGINS = {"newsletter": "bounces+42@brightpost.example", "shop": "orders@parcelnote.example"}
MAILBOX_MX = "mailbox"


@pytest.fixture(scope="module")
def submit(lab, site):
    """Returns a function: submit a message from the stranger's host, as a login; returns the last reply."""

    def send(machine, login, *, port=587, family=4, sender=None, author=None, to, subject, more=""):
        sender = LOGINS[login] if sender is None else sender
        author = author or f"Somebody <{LOGINS[login]}>"
        tls = "starttls" if port == 587 else "wrapped"
        body = (
            f"From: {author}\r\nTo: {to}\r\nSubject: {subject}\r\nUser-Agent: Scribe/1.0\r\n{more}"
            "\r\nGr\xc3\xbc\xc3\x9fe,\r\n.dots and trailing space \r\n"
        )
        replies = talk(
            lab.host("outside"),
            machine.ipv4 if family == 4 else machine.ipv6,
            port,
            "EHLO laptop.internal\r\n",
            auth_plain(login, site.secrets.get(f"submission/{login}")),
            *transaction(sender, to, body=body.replace("\r\n.", "\r\n..")),
            tls=tls,
        )
        return refusal(replies[3:])

    return send


@pytest.fixture
def only(lab):
    """Returns a function: an IP version is the only one that reaches the provider in this test."""
    host = lab.host(MAILBOX_MX)

    def limit(family):
        other = {4: "ipv6", 6: "ipv4"}[family]
        rules = (
            "add table inet only; add chain inet only input { type filter hook input priority 0; };"
            f" add rule inet only input meta nfproto {other} tcp dport 25 reject with tcp reset"
        )
        host.in_network(["nft", rules]).require()

    yield limit
    host.in_network(["nft", "delete table inet only"]).require()


WAYS = [(n, login, p, f) for n in ("out1", "out2") for login in LOGINS for p in (587, 465) for f in (4, 6)]


@pytest.mark.proof(
    "a submitted message passes spf, dkim (twice) and dmarc at the provider, and dkimpy agrees"
)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way)))
def test_a_submitted_message_is_believed(lab, site, submit, only, way, evidence):
    name, login, port, family = way
    machine = site.fleet.machine(name)
    token = uuid.uuid4().hex
    only(family)
    reply = submit(machine, login, port=port, family=family, to="anna@mailbox.example", subject=token)
    assert reply.code == 250, reply
    message = lab.mailbox.wait_for("anna", lambda m: m.subject == token)

    assert message.results("spf") == ["pass"]
    assert message.results("dkim") == ["pass", "pass"]
    assert message.results("dmarc") == ["pass"]
    assert dkimpy_verdicts(message.raw, lab.ns) == {"rsa-sha256": True, "ed25519-sha256": True}
    evidence(f"{name} over IPv{family}: spf=pass dkim=pass (rsa) dkim=pass (ed25519) dmarc=pass")
    # HELO, PTR and the address of the fleet file agree, over the IP version it went out by.
    address = str(machine.ipv4) if family == 4 else f"IPv6:{machine.ipv6}"
    host = machine.fqdn.bare
    assert f"from {host} ({host} [{address}])" in " ".join(
        " ".join(message.parsed.get_all("Received")).split()
    )


@pytest.mark.proof("who submitted a message, and from where, is told to nobody")
@pytest.mark.parametrize("name", ["out1", "out2"])
def test_who_submitted_it_and_from_where_is_told_to_nobody(lab, site, submit, name):
    token = uuid.uuid4().hex
    more = "X-Originating-IP: [10.1.2.3]\r\nX-Mailer: Scribe\r\n"
    assert (
        submit(site.fleet.machine(name), "shop", to="anna@mailbox.example", subject=token, more=more).code
        == 250
    )
    raw = lab.mailbox.wait_for("anna", lambda m: m.subject == token).raw.decode()
    stranger = [str(i.ip) for i in lab.plan.host("outside").interfaces]
    for secret in (*stranger, "laptop.internal", "outside.example", "shop", "10.1.2.3", "Scribe", "ESMTPSA"):
        assert secret.lower() not in raw.lower(), secret


@pytest.mark.parametrize(
    ("name", "missing"), [("out1", "Date"), ("out1", "Message-ID"), ("out2", "Date"), ("out2", "Message-ID")]
)
def test_what_the_program_left_out_is_added_and_signed(lab, site, submit, name, missing):
    token = uuid.uuid4().hex
    assert submit(site.fleet.machine(name), "shop", to="anna@mailbox.example", subject=token).code == 250
    message = lab.mailbox.wait_for("anna", lambda m: m.subject == token)
    assert message.parsed[missing]
    for signature in message.parsed.get_all("DKIM-Signature"):
        assert missing.lower() in re.search(r"\bh=([^;]*)", str(signature))[1].lower().split(":")


def test_a_header_added_on_the_way_breaks_the_signatures(lab, site, submit):
    token = uuid.uuid4().hex
    assert submit(site.fleet.machine("out1"), "shop", to="anna@mailbox.example", subject=token).code == 250
    raw = lab.mailbox.wait_for("anna", lambda m: m.subject == token).raw
    for header in (b"From: boss@bank.example\n", b"Subject: other\n", b"Reply-To: x@bank.example\n"):
        assert set(dkimpy_verdicts(header + raw, lab.ns).values()) == {False}


@pytest.mark.proof("the provider refuses a stranger's mail that claims to be from our domains")
@pytest.mark.parametrize(("login", "sender"), LOGINS.items())
def test_a_forgery_of_ours_is_refused_by_the_provider(lab, site, login, sender, evidence):  # noqa: ARG001
    token = uuid.uuid4().hex
    body = f"From: Somebody <{sender}>\r\nTo: anna@mailbox.example\r\nSubject: {token}\r\n\r\nhello"
    said = talk(
        lab.host("outside"),
        lab.plan.host(MAILBOX_MX).interfaces[0].ip,
        25,
        "EHLO outside.example\r\n",
        *transaction(sender, "anna@mailbox.example", body=body),
    )
    assert refusal(said).code in (550, 554), said
    assert "DMARC" in str(refusal(said)), said  # p=reject, and for no other reason
    evidence(f"{sender}: {refusal(said)}")
    assert [m for m in lab.mailbox.messages("anna") if m.subject == token] == []


@pytest.mark.proof("a login cannot have mail signed under an address that is another's")
@pytest.mark.parametrize("name", ["out1", "out2"])
@pytest.mark.parametrize(
    "author",
    [
        "orders@parcelnote.example",
        "news@brightpost.example, orders@parcelnote.example",
        "news@brightpost.example <orders@parcelnote.example>",
        '(") <orders@parcelnote.example> (") news@brightpost.example',
        "news@brightpost.example\r\nFrom: orders@parcelnote.example",
    ],
)
def test_a_login_cannot_have_signed_what_another_may_write(site, submit, name, author):
    reply = submit(
        site.fleet.machine(name), "newsletter", author=author, to="anna@mailbox.example", subject="not mine"
    )
    assert (reply.code, reply.lines[0][:5]) == (550, "5.7.1"), reply


@pytest.mark.parametrize(
    "author", ["news@brightpost.example", '"News, daily" (ours) <News+July@Brightpost.Example>']
)
def test_a_login_may_write_as_any_address_of_its_own(site, submit, author):
    machine = site.fleet.machine("out1")
    reply = submit(machine, "newsletter", author=author, to="anna@mailbox.example", subject="mine")
    assert reply.code == 250, reply


# --- what comes back


def _kept(host, domain, name, token):
    return host.run(
        f"grep -rl {token} /srv/mail/{domain}/{name}/new /srv/mail/{domain}/{name}/cur"
    ).stdout.split()


@pytest.mark.proof("bounces come back, to every sender address, over IPv4 and IPv6")
@pytest.mark.parametrize("family", [4, 6])
def test_bounces_come_back_to_every_sender_address(lab, site, family):
    for host, machine in doors(site, lab)[25]:
        for to, name in (
            ("bounces+17@brightpost.example", "bounces"),
            ("orders@parcelnote.example", "orders"),
            ("noreply+x=y@parcelnote.example", "noreply"),
        ):
            token = uuid.uuid4().hex
            body = f"From: MAILER-DAEMON@mailbox.example\r\nTo: {to}\r\nSubject: {token}\r\n\r\nno such user"
            address = machine.ipv4 if family == 4 else machine.ipv6
            said = talk(
                lab.host("outside"), address, 25, "EHLO outside.example\r\n", *transaction("", to, body=body)
            )
            assert refusal(said).code == 250, said
            domain = to.rpartition("@")[2]
            host.run(
                f"timeout 20 sh -c 'until grep -rqs {token} /srv/mail/{domain}; do sleep 0.1; done'"
            ).require()
            (file,) = _kept(host, domain, name, token)
            assert b"Authentication-Results: " + machine.fqdn.bare.encode() in host.read(file)


def _write_to(lab, machine, to, author, token):
    """A stranger's mail to one of our addresses; returns the answer."""
    body = f"From: {author}\r\nSubject: {token}\r\n\r\nhello"
    words = transaction(author, to, body=body)
    return refusal(talk(lab.host("outside"), machine.ipv4, 25, "EHLO outside.example\r\n", *words))


@pytest.mark.parametrize("name", ["postmaster", "abuse"])
def test_mail_to_those_in_charge_reaches_the_owner(lab, site, name):
    owner = site.fleet.owner.postmaster.partition("@")[0]
    for _, machine in doors(site, lab)[25]:
        for domain in site.fleet.mail_for(machine.name):
            token = uuid.uuid4().hex
            reply = _write_to(lab, machine, f"{name}@{domain.name.bare}", "anna@outside.example", token)
            assert reply.code == 250, reply
            message = lab.mailbox.wait_for(owner, lambda m, token=token: m.subject == token)
            assert message.results("spf") == ["pass"]


def test_what_the_owner_s_provider_refuses_comes_back_to_us_and_not_to_whoever_is_named(lab, site):
    # A forwarded message without a signature: its author's domain asks to have it rejected.
    for host, machine in doors(site, lab)[25]:
        token = uuid.uuid4().hex
        reply = _write_to(lab, machine, "abuse@brightpost.example", "anna@mailbox.example", token)
        assert reply.code == 250, reply
        folder = "/srv/mail/brightpost.example/owner-abuse"
        host.run(f"timeout 20 sh -c 'until grep -rqs {token} {folder}; do sleep 0.1; done'").require()
        assert [m for m in lab.mailbox.messages("anna") if token.encode() in m.raw] == []
