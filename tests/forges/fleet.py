"""A fleet's repository for the pipelines: this project, and a fleet of one of the lab's machines."""

import json
import shutil
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from mailwright.command.schema import fleet_schema
from mailwright.elsewhere import write_shim
from mailwright.model.identities import draw
from mailwright.model.load import load_site
from mailwright.model.secrets_file import Vault, add_recipients
from mailwright.model.secrets_store import initialise
from roles import ROLES
from tests.forges.github import WORKFLOW
from tests.forges.gitlab import PIPELINE

ROOT = Path(__file__).parents[2]
CODE = ("mailwright", "roles", "templates", "dns/maildns", "tests/hosts", "deploy.py", "pyproject.toml")
DOMAIN = {  # held by nobody: its records are judged and printed
    "name": "parcelnote.example",
    "dkim": [{"selector": "r2026", "algorithm": "rsa"}],
    "dmarc": {"policy": "reject", "rua": ["mailto:dmarc@brightpost.example"]},
}


def write_repository(folder, lab, machine):
    """Write it; returns the age identity of the pipeline, the one thing that it needs besides."""
    files = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z", *CODE]
    for name in subprocess.check_output(files, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name, source in ((WORKFLOW, "github.yml"), (PIPELINE, "gitlab.yml")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "pipelines" / source, folder / name)
    return _write_inventory(folder / "inventory" / "prod.yaml", lab, machine)


def _write_inventory(file, lab, machine):
    file.parent.mkdir()
    whole = YAML(typ="safe").load(lab.plan.file)
    ssh = whole["defaults"]["ssh"]
    fleet = {key: whole[key] for key in ("owner", "networks", "defaults")} | {"domains": [DOMAIN]}
    fleet["machines"] = [one for one in whole["machines"] if one["name"] == machine]
    shutil.copy(ssh.pop("known_hosts"), file.with_suffix(".known_hosts"))
    key = Path(ssh["key"]).read_text()
    ssh["key"] = "~/.ssh/fleet"
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(fleet, file)
    write_shim(file)
    (file.parent / "fleet.schema.json").write_text(json.dumps(fleet_schema(ROLES)))
    return _write_secrets(file, key)


def _write_secrets(file, ssh_key):
    ours, vault_file = draw(), file.with_suffix(".secrets.age")
    environ = {"MAILWRIGHT_AGE_IDENTITY": ours.text}
    nowhere = file.parent / "none"
    initialise(
        load_site(file, ROLES, environ).fleet,
        vault_file,
        nowhere,
        extra={"ssh/fleet": ssh_key},
        roles=ROLES,
        environ=environ,
        own_identity=False,
        label="pipeline",
    )
    with Vault(vault_file, nowhere, environ).changing() as content:
        add_recipients(content, [draw().recipient], "recovery key of 2026-01-01")
    return ours.text
