"""A deploy without changes costs a machine a small number of remote commands, whatever its roles."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from ruamel.yaml import YAML

from mailwright.lab.lab import Lab
from tests.lab.deploying import changes, deploy

MACHINES = 10
BUDGET = 25

# sshd tells of each command and subsystem it starts (Debian 13: its child does); the first file that sets
# a thing wins.
TALK = "echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/00-count.conf && systemctl reload ssh"
HUSH = "rm /etc/ssh/sshd_config.d/00-count.conf && systemctl reload ssh"
COUNT = "journalctl -t sshd -t sshd-session --after-cursor='{}' --output=cat | grep -c '^Starting session: '"
CURSOR = "journalctl --show-cursor --lines=0 | sed -n 's/^-- cursor: //p'"


@pytest.fixture(scope="module")
def ten(lab, tmp_path_factory):
    """The lab with more machines in it, until there are ten. They go again."""
    folder = tmp_path_factory.mktemp("ten")
    fleet = YAML().load(lab.plan.file.read_text())
    missing = MACHINES - len(fleet["machines"])
    for i in range(missing):
        fleet["machines"].append(
            {
                "name": f"n{i}",
                "fqdn": f"n{i}.{lab.plan.fleet.domains[0].name.bare}",
                "debian": 12 + i % 2,
                "ipv4": str(lab.plan.lab.ipv4[150 + i]),
                "ipv6": str(lab.plan.lab.ipv6[0x150 + i]),
                "roles": {"base": {}, "firewall": {}, "unbound": {}},
            }
        )
    YAML().dump(fleet, (folder / "ten.yaml").open("w"))
    shutil.copy(lab.plan.file.with_suffix(".py"), folder / "ten.py")
    whole = Lab.open(folder / "ten.yaml")
    whole.up()
    yield whole
    for i in range(missing):
        container = whole.host(f"n{i}").container
        container.kill()
        shutil.rmtree(container.directory, ignore_errors=True)


def on_all(lab, act):
    names = [machine.name for machine in lab.plan.fleet.machines]
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda name: act(lab.host(name)), names), strict=True))


def test_a_deploy_without_changes_stays_within_the_budget(ten):
    deploy(ten.plan.file)
    on_all(ten, lambda host: host.run(TALK).require())
    try:
        cursors = on_all(ten, lambda host: host.run(CURSOR).require().stdout.strip())
        assert changes(deploy(ten.plan.file)) == {}
        counts = on_all(ten, lambda host: int(host.run(COUNT.format(cursors[host.name])).stdout))
    finally:
        on_all(ten, lambda host: host.run(HUSH))
    print(f"remote commands: {counts}")  # noqa: T201 - the figure itself is of interest
    assert len(counts) == MACHINES
    assert all(counts.values()), "every machine was asked something, or the count is blind"
    assert max(counts.values()) <= BUDGET, counts
