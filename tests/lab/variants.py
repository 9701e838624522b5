"""Deploys of the lab's fleet with something changed in it: in the fleet file, or in a template."""

import os
import re
import shutil
import subprocess

from ruamel.yaml import YAML

from mailwright.elsewhere import write_shim
from tests.lab.deploying import ROOT, limits, pyinfra_command


def variant(lab, folder, edit=lambda _fleet: None):
    """Write the lab's fleet, its plain data edited, into an empty folder; returns the fleet file."""
    yaml = YAML(typ="safe")
    fleet = yaml.load(lab.plan.file)
    edit(fleet)
    file = folder / "fleet.yaml"
    yaml.dump(fleet, file)
    write_shim(file)
    return file


def machine(fleet, host):
    """A host's machine in the plain data of a fleet."""
    return next(m for m in fleet["machines"] if m["name"] == host.name)


def tree_with(folder, template, more):
    """Copy the roles into an empty folder, with text at the end of one template."""
    for name in ("roles", "templates"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "deploy.py", folder)
    with (folder / "templates" / template).open("a") as file:
        file.write(more)
    return folder


def repository(folder):
    """Copy the roles and suites into an empty folder: runs rightly stop when those are edited meanwhile."""
    tree_with(folder, "postfix/main.cf.j2", "")
    shutil.copytree(ROOT / "tests" / "hosts", folder / "tests" / "hosts")
    return folder


def environment(tree):
    """With which commands take the roles of a tree."""
    return {**os.environ, "NO_COLOR": "1", "PYTHONPATH": f"{tree}:{ROOT / 'dns'}"}


def start(inventory, hosts, tree=ROOT):
    """Start pyinfra over some hosts, with the roles of a tree."""
    return subprocess.Popen(
        pyinfra_command(inventory, "-y", "-v", *limits(host.name for host in hosts)),
        cwd=tree,
        env=environment(tree),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def attempt(inventory, hosts, tree=ROOT):
    """Run pyinfra over some hosts; returns its exit status and everything it said.

    The blanks that align what hosts with names of several lengths say are left out.
    """
    process = start(inventory, hosts, tree)
    out, err = process.communicate(timeout=900)
    return process.returncode, re.sub(r"(\[[\w-]+\]) +", r"\1 ", out + err)


def one_of_each_release(lab):
    """The last Debian 12 and the last Debian 13 host of the fleet: those with the fewest roles."""
    by_release = {m.debian: m.name for m in lab.plan.fleet.machines}
    return [lab.host(name) for _, name in sorted(by_release.items())]
