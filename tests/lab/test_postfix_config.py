"""A configuration that Postfix would choke on never takes the place of one that works."""

import uuid

import pytest

from roles.postfix.behaviour import VALIDATE
from tests.lab.mailing import auth_plain, refusal, talk, transaction
from tests.lab.variants import attempt, tree_with, variant

# A Debian 13 and a Debian 12 machine.
SENDING = ("out1", "out2")
STAGE = "/run/mailwright-test-stage"

MISTAKES = {
    "a setting nobody knows": ("main.cf", "smtpd_relay_restriction = reject"),
    "a reference to nothing": ("main.cf", "smtpd_banner = $my_hostname ESMTP"),
    "a size that is no number": ("main.cf", "message_size_limit = 25M"),
    "a restriction nobody knows": ("main.cf", "smtpd_helo_restrictions = reject_bad_manners"),
    "a table that is not there": ("main.cf", "smtpd_sender_login_maps = texthash:/etc/postfix/no"),
    "a kind of table nobody knows": ("main.cf", "relay_domains = ldbm:/etc/postfix/relay"),
    "a certificate that is not there": ("main.cf", "smtpd_tls_chain_files = /nowhere.pem"),
    "a line that is none": ("main.cf", "this is not a setting"),
    "a service without a program": ("master.cf", "extra unix - - y - - no-such-program"),
    "a service cut short": ("master.cf", "extra unix - - y"),
    "a pattern that is none": ("submission_headers", "/^X-(unclosed:/ IGNORE"),
    "an address that is none": ("fleet.cidr", "203.0.113.999 permit"),
    "a machine beside it that is none": ("peers.cidr", "203.0.113.999 permit"),
    "an option nobody knows": ("master.cf", "10999 inet n - y - - smtpd -o smtpd_upstream_protocol=haproxy"),
    "an option that leads nowhere": ("master.cf", "10999 inet n - y - - smtpd -o smtpd_milters=$no_milters"),
    "an alias of nothing": ("virtual", "lonely@brightpost.example"),
}


@pytest.fixture(scope="module", params=SENDING)
def host(lab, site, request):  # noqa: ARG001 - the site is there once the fleet is deployed
    return lab.host(request.param)


def _validate(host, name, line):
    stage = f"rm -rf {STAGE}; mkdir -p {STAGE}/etc; cp -a /etc/postfix {STAGE}/etc"
    host.run(f"{stage}; cat >>{STAGE}/etc/postfix/{name}", stdin=f"\n{line}\n").require()
    return host.run(VALIDATE.replace("{root}", STAGE))


def test_the_validation_passes_what_is_right(host):
    done = _validate(host, "main.cf", "# nothing")
    assert (done.status, done.stderr) == (0, "")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_validation_sees(host, mistake):
    done = _validate(host, *MISTAKES[mistake])
    assert done.status != 0
    assert done.stderr.strip()


def _state(host):
    """Every file of Postfix, and its master process."""
    return (
        host.run(
            "find /etc/postfix -type f -exec sha256sum {} + | sort; cat /var/spool/postfix/pid/master.pid"
        )
        .require()
        .stdout
    )


def test_a_main_cf_with_an_error_never_replaces_the_running_one(lab, site, tmp_path):
    hosts = [lab.host(name) for name in SENDING]
    before = {host.name: _state(host) for host in hosts}
    (tmp_path / "fleet").mkdir()
    tree = tree_with(tmp_path / "tree", "postfix/main.cf.j2", "\nsmtpd_banner = $my_hostname ESMTP\n")

    status, said = attempt(variant(lab, tmp_path / "fleet"), hosts, tree)

    assert status != 0
    assert "the new configuration is not valid: nothing was changed" in said
    assert {host.name: _state(host) for host in hosts} == before
    for host in hosts:
        token = uuid.uuid4().hex
        body = f"From: orders@parcelnote.example\r\nSubject: {token}\r\n\r\nhello"
        words = transaction("orders@parcelnote.example", "anna@mailbox.example", body=body)
        login = auth_plain("shop", site.secrets.get("submission/shop"))
        address = site.fleet.machine(host.name).ipv4
        said = talk(lab.host("outside"), address, 465, "EHLO x\r\n", login, *words, tls="wrapped")
        assert refusal(said).code == 250, said
        lab.mailbox.wait_for("anna", lambda m, token=token: m.subject == token)
