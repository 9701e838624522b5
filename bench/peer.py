"""The same desired state as an Ansible playbook: what the peer has to do for the same fleet.

Written from the needs of each machine, idiomatically: one `apt` task with the whole list, one task
a file, a directory, an account and a unit. Ansible is given less than we do ourselves, never more:
no live sysctls, no validation, no comparison of start times.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mailwright.model.needs import Needs
from mailwright.model.site import MachinePlan, Site

Task = dict[str, Any]


def write_project(site: Site, folder: Path) -> Path:
    """Write inventory, playbook and rendered files below `folder`; returns the playbook's path."""
    plans = [site.plan(machine) for machine in site.fleet.machines]
    # One play for all, each machine including a task file of its own: plays run one after the other,
    # and a user of Ansible would have the machines side by side.
    for plan in plans:
        own = [task for role in plan.roles for task in tasks(plan, role.name, folder)]
        (folder / f"{plan.machine.name}.json").write_text(json.dumps(own))
    include = {"name": "the machine's tasks", "include_tasks": "{{ inventory_hostname }}.json"}
    playbook = folder / "site.json"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [include]}]))
    hosts = {plan.machine.name: _host(plan) for plan in plans}
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    return playbook


def tasks(plan: MachinePlan, role: str, folder: Path) -> list[Task]:
    """The tasks of one role of one machine."""
    needs = plan.by_role[role]
    return [
        *_packages(needs, role),
        *_accounts(needs, role),
        *_files(needs, plan.machine.name, role, folder),
        *_units(needs, role),
    ]


def _host(plan: MachinePlan) -> dict[str, Any]:
    ssh = plan.machine.ssh
    return {
        "ansible_host": plan.machine.ssh_address,
        "ansible_user": ssh.user,
        "ansible_port": ssh.port,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": ssh.key,
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={ssh.known_hosts}" if ssh.known_hosts else "",
    }


def _packages(needs: Needs, role: str) -> list[Task]:
    names = [p.name for p in needs.packages]
    apt = {"name": names, "state": "present", "install_recommends": False}
    return [{"name": f"{role}: packages", "apt": apt}] if names else []


def _accounts(needs: Needs, role: str) -> list[Task]:
    return [
        {
            "name": f"{role}: account {u.name}",
            "user": {
                "name": u.name,
                "system": u.system,
                "shell": u.shell,
                "groups": list(u.groups),
                "append": True,
            },
        }
        for u in needs.users
    ]


def _files(needs: Needs, machine: str, role: str, folder: Path) -> list[Task]:
    made: list[Task] = [
        {
            "name": f"{role}: {d.path}",
            "file": {
                "path": d.path,
                "state": "directory",
                "owner": d.owner,
                "group": d.group,
                "mode": f"{d.mode:04o}",
            },
        }
        for d in needs.directories
    ]
    for f in needs.files:
        source = folder / "files" / machine / f.path.lstrip("/")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(f.content)
        copy = {
            "src": str(source),
            "dest": f.path,
            "owner": f.owner,
            "group": f.group,
            "mode": f"{f.mode:04o}",
        }
        made.append({"name": f"{role}: {f.path}", "copy": copy, "no_log": f.secret})
    made += [
        {"name": f"{role}: no {a.path}", "file": {"path": a.path, "state": "absent"}} for a in needs.absent
    ]
    return made


# systemd skips it in containers, which cannot set the clock; Ansible would start it at every run.
SKIPPED = "chrony.service"


def _units(needs: Needs, role: str) -> list[Task]:
    return [
        {
            "name": f"{role}: unit {u.name}",
            "systemd_service": {"name": u.name, "masked": True}
            if u.masked
            else {"name": u.name, "enabled": u.enabled, "state": "started" if u.running else "stopped"},
        }
        for u in needs.units
        if u.name != SKIPPED
    ]
