"""Somebody else's storage: an SFTP server with an account for each machine, and an S3 service.

An account's login ends in a folder that it cannot leave (sshd_config(5), ChrootDirectory), in which its own
folder is the only one that it may write to. The keeper's key opens every account, as a second key would at a
provider of storage. The S3 service is moto's: it speaks the protocol, forgets everything at each
start, and lets anybody in, so that nothing about permissions can be seen there.
"""

from __future__ import annotations

from mailwright.lab import keys
from mailwright.lab.container import Seed
from mailwright.lab.plan import LabPlan
from mailwright.lab.world import WorldHost, template

S3_PORT = 9000
BUCKET = "backups"
_ROOT = "/srv/sftp"


def depot(plan: LabPlan) -> WorldHost:
    """The storage of a lab."""
    accounts = [machine.name for machine in plan.fleet.machines]
    keeper = keys.backup_key(plan, None).public
    return WorldHost(
        packages=("python3-moto", "python3-flask-cors", "curl"),
        files=(
            Seed(
                "/etc/sysusers.d/depot.conf", "".join(f"u {n} - - {_ROOT}/{n}\n" for n in accounts).encode()
            ),
            Seed(
                "/etc/tmpfiles.d/depot.conf",
                "".join(
                    f"d {_ROOT}/{n} 0755 root root\nd {_ROOT}/{n}/{n} 0700 {n} {n}\n" for n in accounts
                ).encode(),
            ),
            *(
                Seed(f"/etc/ssh/depot/{n}", f"{keys.backup_key(plan, n).public}\n{keeper}\n".encode())
                for n in accounts
            ),
            Seed(
                "/etc/ssh/sshd_config.d/depot.conf",
                template("depot.sshd.j2", accounts=",".join(accounts), root=_ROOT),
            ),
            Seed(
                "/etc/systemd/system/depot-s3.service",
                template("depot-s3.service.j2", port=S3_PORT, bucket=BUCKET),
            ),
            Seed("/etc/systemd/system/depot-accounts.service", template("depot-accounts.service")),
            # nothing has enabled a service of ours
            Seed(
                "/etc/systemd/system/multi-user.target.d/lab.conf",
                b"[Unit]\nWants=depot-accounts.service depot-s3.service\n",
            ),
        ),
        units=("depot-accounts.service", "ssh.service", "depot-s3.service"),
    )
