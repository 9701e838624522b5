"""What a job runs on: a clone, an empty home, a Python, and a shell with the variables that are meant."""

import os
import shutil
import site
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

PATIENCE = 900

# The network is no part of this: everything that the project depends on is on this machine already, and
# `pip install --editable .` is left to do the rest, the clone's own packages and commands.
PIP = """
import sys, sysconfig
from pathlib import Path
assert sys.argv[1:] == ["install", "--quiet", "--editable", "."], sys.argv
here, scripts = Path.cwd(), Path(sysconfig.get_path("scripts"))
Path(sysconfig.get_path("purelib"), "fleet.pth").write_text(f"{here}\\n{here / 'dns'}\\n")
command = here / "mailwright-stub"
text = command.read_text() if command.exists() else (
    f"#!{sys.executable}\\nfrom mailwright.command.main import main\\nmain()\\n")
(scripts / "mailwright").write_text(text)
(scripts / "mailwright").chmod(0o755)
"""


@dataclass
class Played:
    """How one job went."""

    name: str
    outcome: str
    """`success`, `failure`, `skipped`, or what it waits for: `waiting` (approval), `manual`."""
    log: str = ""
    given: dict = field(default_factory=dict)
    """The variables of each command line that was executed: line to variables."""
    reports: Path | None = None
    """What it keeps as artifact."""
    left: list = field(default_factory=list)
    """Files in its home when it had ended."""
    summary: str = ""
    """What it shows on the page of the run."""


class Machine:
    """A new machine for one job."""

    def __init__(self, folder):
        self.folder, self.work, self.home = folder, folder / "work", folder / "home"
        self.home.mkdir(parents=True)
        self.work.mkdir()
        # A virtual environment by hand (PEP 405), with what is installed here and a pip that leaves it so.
        self.python = folder / "python"
        packages = (
            self.python / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        )
        packages.mkdir(parents=True)
        (self.python / "bin").mkdir()
        (self.python / "bin" / "python").symlink_to(sys._base_executable)
        (self.python / "pyvenv.cfg").write_text(f"home = {Path(sys._base_executable).parent}\n")
        (packages / "installed.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
        (packages / "pip").mkdir()
        (packages / "pip" / "__init__.py").touch()
        (packages / "pip" / "__main__.py").write_text(textwrap.dedent(PIP))

    def clone(self, origin, revision, *, whole):
        """Check a revision out; `whole`: with its history and all branches."""
        depth = [] if whole else ["--depth=1"]
        git(self.folder, "init", "--quiet", self.work)
        git(self.work, "remote", "add", "origin", f"file://{origin}")
        wanted = ["+refs/heads/*:refs/remotes/origin/*"] if whole else []
        git(self.work, "fetch", "--quiet", *depth, "origin", revision, *wanted)
        git(self.work, "checkout", "--quiet", "--detach", revision)

    def shell(self, script, variables, *, flags):
        """Run a script with these variables and no others; its exit status and output."""
        path = f"{self.python}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        base = {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "CI": "true"}
        file = self.folder / "script.sh"
        file.write_text(script)
        done = subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", *flags, file],
            cwd=self.work,
            env=base | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout

    def keep(self, path, into):
        """Copy a folder of the work tree somewhere, if it is there."""
        if (self.work / path).exists():
            shutil.copytree(self.work / path, into, dirs_exist_ok=True)

    def left(self):
        """The files in its home."""
        return sorted(str(p.relative_to(self.home)) for p in self.home.rglob("*") if p.is_file())


def git(folder, *words):
    """Run git, which must do; its output."""
    identity = {
        f"GIT_{who}_{what}": "ops@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = os.environ | identity | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    command = ["git", "-C", str(folder), *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def read(file):
    """A pipeline's YAML, as YAML 1.2 has it: `on` is a text."""
    return YAML(typ="safe", pure=True).load(Path(file))
