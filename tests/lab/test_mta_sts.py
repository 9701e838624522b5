"""The policy that senders fetch is the one that the DNS announces, from a host that they can verify."""

import pytest

from maildns.policy.mta_sts import PATH, MtaSts, policy_host, policy_id
from mailwright.lab.keys import ca_file
from mailwright.lab.shell import wait_until

CA = "/run/ca.pem"


@pytest.fixture(scope="module")
def fetch(lab, deployed):
    """Returns a function: what a stranger that trusts the lab's authority gets over HTTPS: (head, body)."""
    del deployed
    outside = lab.host("outside")
    outside.run(["tee", CA], stdin=ca_file(lab.plan).read_bytes()).require()

    def get(host, path, name=None):
        # Name resolution is the stranger's own, by the lab's name server; the certificate must fit the name.
        client = (
            f"openssl s_client -quiet -connect {host}:443 -servername {name or host} -CAfile {CA}"
            f" -verify_return_error -verify_hostname {name or host} 2>&1"
        )
        request = f"GET {path} HTTP/1.1\r\nHost: {name or host}\r\nConnection: close\r\n\r\n"
        said = outside.run(client, stdin=request).stdout
        _, _, answer = said.partition("HTTP/1.1 ")
        head, _, body = answer.partition("\r\n\r\n")
        return head, body or said

    return get


@pytest.fixture(scope="module")
def domain(lab):
    """A domain of the fleet with a policy."""
    return next(d for d in lab.plan.fleet.domains if d.mta_sts)


@pytest.mark.proof("the MTA-STS policy that senders fetch by name over verified HTTPS is the one published")
def test_the_policy_is_fetched_by_name_and_is_what_is_published(lab, fetch, domain, evidence):
    host = policy_host(domain.name.bare)
    head, body = fetch(host, PATH)
    assert head.startswith("200 OK"), head + body
    assert "Content-Type: text/plain" in head
    policy = MtaSts.parse(body.encode())
    assert policy.document == body.encode()
    announced = [v.strip('"') for v in lab.ns.values(f"_mta-sts.{domain.name}", "TXT")]
    assert policy.id == policy_id(announced)
    exchangers = [value.split()[1] for value in lab.ns.values(domain.name, "MX")]
    assert exchangers
    assert all(policy.covers(name) for name in exchangers)
    evidence(f"{host}: {policy.mode}, id {policy.id}")


def test_nothing_else_is_served_and_no_other_name_answered(fetch, domain):
    host = policy_host(domain.name.bare)
    assert fetch(host, "/")[0].startswith("404")
    assert fetch(host, f"{PATH}/../nginx.conf")[0].startswith("404")
    head, said = fetch(host, PATH, name="other.example")
    assert head == ""
    assert "unrecognized name" in said


@pytest.mark.proof("our own hosts deliver to the MX by the key that its TLSA record pins")
def test_mail_between_our_hosts_is_verified_by_dane(lab, deployed, site, domain, evidence):
    del deployed
    (exchanger, *_) = domain.mx
    out = next(m for m in site.fleet.with_role("postfix") if m.name not in domain.mx)
    host = lab.host(out.name)
    began = host.run("date +%s").stdout.strip()
    sender = f"bounces@{domain.name.bare}"
    host.run(["sendmail", "-f", sender, sender], stdin="Subject: pinned\n\nhello\n").require()
    name = site.fleet.machine(exchanger).fqdn.bare
    seen = f"journalctl --since @{began} -o cat | grep -F 'Verified TLS connection established to {name}'"
    wait_until(lambda: host.run(seen).ok, f"{out.name} verifies {name}")
    evidence(host.run(seen).stdout.splitlines()[0])
