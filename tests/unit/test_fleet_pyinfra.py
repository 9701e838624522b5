"""`pyinfra inventory/X.py deploy.py` over a broken fleet file: the same lines, and nothing is reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = (REPOSITORY / "inventory" / "prod.yaml").read_bytes()

# Python imports this at its start: whoever connects to an address leaves a file behind, and fails.
TRAP = """
import pathlib, sys
def hook(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        pathlib.Path(__file__).with_name("connected").write_text(repr(arguments[1]))
        raise ConnectionRefusedError
sys.addaudithook(hook)
"""


def pyinfra(folder: Path, content: bytes, *options: str) -> tuple[int, str]:
    (folder / "fleet.yaml").write_bytes(content)
    (folder / "fleet.py").write_bytes((REPOSITORY / "inventory" / "prod.py").read_bytes())
    (folder / "sitecustomize.py").write_text(TRAP)
    command = [
        str(Path(sys.executable).with_name("pyinfra")),
        str(folder / "fleet.py"),
        "deploy.py",
        *options,
    ]
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (EXAMPLE.replace(b"192.0.2.11", b"10.0.0.999"), "machines[0].ipv4: not an IPv4 address: 10.0.0.999"),
        (EXAMPLE.replace(b"  - name: mx1", b"  - name: out1"), "the same name as machines[0].name: out1"),
        (EXAMPLE.replace(b"      dovecot: {}", b"      dovecott: {}"), "did you mean dovecot?"),
        (b"", "fleet.yaml:1: empty"),
        (b"\x7fELF\x00", "fleet.yaml:1: a control character"),
    ],
    ids=["address", "name", "role", "empty", "binary"],
)
def test_a_broken_fleet_file_ends_pyinfra_before_it_reaches_anything(
    tmp_path: Path, content: bytes, words: str
):
    status, output = pyinfra(tmp_path, content, "-y")
    assert status == 1
    assert f"{tmp_path}/fleet.yaml:" in output
    assert words in output
    assert "Traceback" not in output
    assert not (tmp_path / "connected").exists()


def test_the_trap_notices_a_connection(tmp_path: Path):
    status, _ = pyinfra(tmp_path, EXAMPLE, "-y", "--limit", "out1")
    assert status != 0
    assert "192.0.2.11" in (tmp_path / "connected").read_text()
