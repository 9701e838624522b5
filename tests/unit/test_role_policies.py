"""Pins what is served as MTA-STS policy; the lab proves that the world fetches it."""

from __future__ import annotations

import pytest

from mailwright.model.errors import NeedsError
from mailwright.model.role import Result, Role, Settings
from roles import policies

POSTFIX = Role("postfix", Settings, apply=lambda _: None)
DOMAIN = {
    "name": "brightpost.example",
    "mx": ["m1"],
    "mta_sts": {"mode": "testing", "max_age": 86400, "served_by": ["m1"]},
}
TEXT = "version: STSv1\r\nmode: testing\r\nmx: m1.brightpost.example\r\nmax_age: 86400\r\n"


@pytest.fixture
def plan(plan_of):
    """Returns a function: domains to the plan of the machine that serves them."""

    def planned(*domains, **machine):
        return plan_of(POSTFIX, policies.ROLE, domains=domains or (DOMAIN,), machine=machine)

    return planned


@pytest.fixture
def judge(plan):
    """Returns a function: what curl prints to the verdict of the first or second check."""

    def judged(stdout, number=0):
        return plan().checks()[number][1].judge(Result(0, stdout, "curl: (7) refused"))

    return judged


def test_each_domain_has_its_document_its_name_in_the_certificate_and_its_server(plan, content_of):
    other = {**DOMAIN, "name": "parcelnote.example"}
    machine = plan(DOMAIN, other)
    (certificate,) = machine.merged.certificates
    assert certificate.names == ("mta-sts.brightpost.example.", "mta-sts.parcelnote.example.")
    assert content_of(machine, "/etc/mailwright/policies/brightpost.example.txt") == TEXT
    config = content_of(machine, policies.CONFIG)
    for name in ("brightpost.example", "parcelnote.example"):
        assert f"server_name mta-sts.{name};" in config
        assert f"alias /etc/mailwright/policies/{name}.txt;" in config


def test_only_https_is_open_and_nobody_is_logged(plan, content_of):
    machine = plan()
    assert [(p.number, p.audience) for p in machine.merged.ports] == [(443, "public")]
    config = content_of(machine, policies.CONFIG)
    listening = {line.split()[1] for line in config.splitlines() if line.strip().startswith("listen ")}
    assert listening == {"443", "[::]:443"}
    assert "access_log off;" in config


def test_no_name_but_ours_gets_a_page(plan, content_of):
    config = content_of(plan(), policies.CONFIG)
    nobody = config.partition("server_name _;")[2].partition("}")[0]  # a default server has nginx's own pages
    assert "ssl_reject_handshake on;" in nobody
    assert "return 421;" in nobody


def test_a_machine_without_ipv6_listens_on_ipv4(plan, content_of):
    assert "[::]" not in content_of(plan(ipv6=None), policies.CONFIG)


def test_a_machine_that_serves_nothing_lacks_a_reason(plan):
    with pytest.raises(NeedsError, match="m1 has the role policies, but no domain"):
        plan({"name": "brightpost.example"})


def test_what_is_served_must_be_what_is_published(judge):
    assert judge(f"{TEXT}\n200 text/plain") is None
    assert "mode: none" in judge(f"{TEXT.replace('testing', 'none')}\n200 text/plain")
    assert "404" in judge("<html>\n404 text/html")
    assert "text/html" in judge(f"{TEXT}\n200 text/html")
    assert "refused" in judge("")


def test_nothing_else_is_served(judge):
    assert judge("<html>\n404 text/html", 1) is None
    assert "200" in judge("welcome\n200 text/html", 1)
