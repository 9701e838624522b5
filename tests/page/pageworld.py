"""A fleet with everything that the page draws, and what a verification might have found in it."""

from datetime import UTC, datetime
from pathlib import Path

from mailwright.model.load import load_fleet
from mailwright.verify.report import CheckReport, MachineReport, Report

FLEET = """\
owner: { name: Bright Post, postmaster: postmaster@brightpost.example }
domains:
  - { name: brightpost.example, mx: [mx1] }
pools:
  - name: outgoing
    service: smtp.brightpost.example
    members: [out1, out2]
    balancers: [lb1, lb2]
    ipv4: 203.0.113.100
  - { name: incoming, service: mx.brightpost.example, members: [mx1], ports: [25] }
machines:
  - { name: out1, fqdn: out1.brightpost.example, ipv4: 203.0.113.11, roles: { postfix: {} } }
  - { name: out2, fqdn: out2.brightpost.example, ipv4: 203.0.113.12, roles: { postfix: {} } }
  - { name: lb1, fqdn: lb1.brightpost.example, ipv4: 203.0.113.41, roles: { haproxy: {}, keepalived: {} } }
  - { name: lb2, fqdn: lb2.brightpost.example, ipv4: 203.0.113.42, roles: { haproxy: {}, keepalived: {} } }
  - { name: mx1, fqdn: mx1.brightpost.example, ipv4: 203.0.113.21, roles: { postfix: {} } }
  - { name: util1, fqdn: util1.brightpost.example, ipv4: 203.0.113.31, roles: { base: {} } }
"""

HOSTILE = (
    '</dd><img src="http://198.18.0.1/x" onerror="document.title=1"><script>document.title = "taken"</script>'
)
"""What a machine might print to take over the page of whoever looks at it."""
ADDRESS = "203.0.113.100"
HELD = f"agreement-keepalived-exactly one of lb1, lb2 holds {ADDRESS}"
MODE = CheckReport(
    "out1-file-/etc/postfix/main.cf",
    "file-/etc/postfix/main.cf",
    ("out1",),
    "postfix",
    "fail",
    "mode 0644",
    "mode 0666",
    "mailwright apply inventory/prod.yaml --limit out1",
    "inventory/prod.yaml:8",
)
BANNER = CheckReport(
    "out1-check-postfix-greets",
    "check-postfix-greets",
    ("out1",),
    "postfix",
    "fail",
    "a greeting",
    HOSTILE,
    "journalctl -u postfix@-",
    "inventory/prod.yaml:8",
)


def fleet(folder):
    """Read the fleet, from a file in `folder`."""
    file = Path(folder, "prod.yaml")
    file.write_text(FLEET)
    return load_fleet(file)


def well(machine, *roles):
    """Three checks of each role that passed."""
    kinds = ("package-{}", "unit-{}.service", "file-/etc/{}.conf")
    names = [(role, kind.format(role)) for role in roles for kind in kinds]
    return tuple(CheckReport(f"{machine}-{name}", name, (machine,), role, "pass") for role, name in names)


def report(checks, together=(), seconds=3.25):
    """A report of the machines in `checks`, which has those of each by its name."""
    machines = tuple(
        MachineReport(
            name,
            f"{name}.brightpost.example",
            tuple(dict.fromkeys(check.role for check in own if check.role)),
            "Debian 13",
            ("203.0.113.11",),
            (),
            1.5,
            tuple(own),
        )
        for name, own in checks.items()
    )
    began = datetime(2026, 11, 22, 16, 3, 5, tzinfo=UTC)
    return Report("prod", "inventory/prod.yaml", "5e" * 32, began, seconds, machines, tuple(together))


def some_of_each():
    """out1 fails twice, lb2 does not answer, util1 was not asked, all else is well."""
    checks = {name: well(name, "base", "postfix") for name in ("out1", "out2", "mx1")}
    checks |= {name: well(name, "base", "haproxy") for name in ("lb1", "lb2")}
    first, *others = checks["lb2"]
    silent = CheckReport(first.id, first.name, ("lb2",), "base", "unknown", "", "lb2: no route to host")
    skipped = [CheckReport(c.id, c.name, c.machines, c.role, "skipped") for c in others]
    checks["lb2"] = (silent, *skipped)
    checks["out1"] = (*checks["out1"], MODE, BANNER)
    sees = "check-haproxy-sees out1 and out2"
    checks["lb1"] = (*checks["lb1"], CheckReport(f"lb1-{sees}", sees, ("lb1",), "haproxy", "pass"))
    held = CheckReport(
        f"lb1+lb2-{HELD}", HELD, ("lb1", "lb2"), "keepalived", "unknown", "", "lb2 did not answer"
    )
    return report(checks, [held])
