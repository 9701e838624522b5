"""Deploys, verifications and sabotage of lab hosts, as an operator would run them: as processes."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from tempfile import NamedTemporaryFile

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


UNLOCKED = "apt-get -qq -o DPkg::Lock::Timeout=120 install >/dev/null"
"""Before `dpkg`, which waits for nobody: the daily upgrade of a lab host may be under way."""

BACKED_UP = """
test -x /usr/local/sbin/mailwright-backup || exit 0
systemctl --quiet is-failed mailwright-backup.service ||
  mailwright-backup status | grep '"error": "' | grep -vq 'no backup yet' || exit 0
exec systemctl start mailwright-backup.service
"""
"""Make up for a backup that came due while a test had the store or the machine down."""


def command(program, *arguments):
    return [str(BIN / program), *map(str, arguments)]


def pyinfra_command(inventory, *arguments):
    return command("pyinfra", Path(inventory).with_suffix(".py"), "deploy.py", *arguments)


def limits(machines):
    return [word for name in machines for word in ("--limit", name)]


def run(argv, **options):
    """Run a command line in the repository to its end."""
    env = os.environ | {"NO_COLOR": "1"} | options.pop("env", {})
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, **options)


def mailwright(*arguments):
    return run(command("mailwright", *arguments))


def deploy(inventory, *machines):
    """Run pyinfra over some machines (none: all); returns its results, once nothing failed."""
    done = run(pyinfra_command(inventory, "-y", "--json", *limits(machines)))
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads(done.stdout)["results"]
    assert not results["failed_hosts"], done.stderr[-4000:]
    assert not results["totals"]["error"], done.stderr[-4000:]
    return results


def changes(results):
    """What a deploy changed: operation to machines."""
    return {o["name"]: o["success"] for o in results["operations"] if o["success"]}


def verify(inventory, *machines):
    """Verify machines; returns what is wrong, by item, with what the report says of it."""
    with NamedTemporaryFile(suffix=".xml") as report:
        done = mailwright("verify", inventory, "--junit", report.name, *limits(machines))
        assert done.returncode in (0, 1, 3), done.stdout + done.stderr
        cases = ET.parse(report.name).getroot().iter("testcase")  # noqa: S314 - pytest wrote it
        wrong = {
            case.get("name").partition("[")[2].removesuffix("]"): (fault.text or "")
            for case in cases
            for fault in (*case.findall("failure"), *case.findall("error"))
        }
    assert bool(wrong) == bool(done.returncode)
    return wrong
