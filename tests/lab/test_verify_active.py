"""`verify --active`: one mail through each sending machine, and what the provider outside says of it."""

import json

import pytest

from mailwright.lab.shell import wait_until
from tests.lab.deploying import mailwright
from tests.lab.mailing import dkimpy_verdicts

# Debian 13 and Debian 12, with the same roles.
TWINS = ("out1", "out2")


@pytest.mark.proof(
    "verify --active sends one mail through each sending machine, which arrives signed; without it none"
)
def test_a_probe_arrives_from_every_sending_machine(deployed, evidence):
    user = deployed.plan.fleet.verify.probe.recipient.partition("@")[0]
    limits = [word for name in TWINS for word in ("--limit", name)]
    words = ("verify", deployed.plan.file, *limits, "--only", "check-postfix-*", "--json", "-")
    deployed.mailbox.clear(user)
    for name in TWINS:
        # What other tests have made Postfix complain of is history after that.
        deployed.host(name).run("systemctl restart postfix.service").require()
    done = mailwright(*words)
    assert done.returncode == 0, done.stdout
    assert deployed.mailbox.messages(user) == []
    done = mailwright(*words, "--active")
    assert done.returncode == 0, done.stdout
    checks = [check for machine in json.loads(done.stdout)["machines"] for check in machine["checks"]]
    probes = [check for check in checks if "probe" in check["name"]]
    assert [(check["machines"][0], check["outcome"]) for check in probes] == [(n, "pass") for n in TWINS]
    # The provider has taken them; a moment later they are in the mailbox.
    wait_until(lambda: len(deployed.mailbox.messages(user)) == len(TWINS), "the probes are there", timeout=30)
    for message in deployed.mailbox.messages(user):
        assert dkimpy_verdicts(message.raw, deployed.ns) == {"rsa-sha256": True, "ed25519-sha256": True}
    evidence(f"{len(TWINS)} probes, signed twice each")
