"""Pins which Debian archive a lab is built from: the machine's own, in whatever way it is written down."""

import pytest

from mailwright.lab.archive import Archive, choose, entries
from mailwright.model.errors import LabError

DEB822 = """\
# what an installer leaves
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie

Types: deb-src
URIs: http://source.example/debian
Suites: trixie
"""

ONE_LINE = """\
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://mirror.example/debian trixie main contrib
# deb http://off.example/debian trixie main
deb-src http://source.example/debian trixie main
deb http://vendor.example/apt stable-vendor main
"""


def test_both_formats_of_sources_are_read():
    assert list(entries("debian.sources", DEB822)) == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://mirror.example/debian-security/", "bookworm-security"),
    ]
    assert list(entries("sources.list", ONE_LINE)) == [
        ("https://mirror.example/debian", "trixie"),
        ("http://vendor.example/apt", "stable-vendor"),
    ]


def test_files_that_apt_ignores_are_ignored():
    assert list(entries("vendor.list.disabled", ONE_LINE)) == []


def test_a_machine_of_either_release_serves_both():
    archive = choose(entries("debian.sources", DEB822))
    assert archive == Archive("http://mirror.example/debian", "http://mirror.example/debian-security")
    assert archive.suites("trixie") == (
        ("http://mirror.example/debian", "trixie"),
        ("http://mirror.example/debian", "trixie-updates"),
        ("http://mirror.example/debian-security", "trixie-security"),
    )


def test_hosts_ask_an_https_archive_without_tls_since_their_proxy_has_it():
    archive = choose(entries("sources.list", ONE_LINE))
    assert archive.addresses == ("https://mirror.example/debian",)
    assert all("http://mirror.example/debian" in line for line in archive.lines("trixie"))


def test_a_list_of_mirrors_means_its_first(tmp_path):
    listed = tmp_path / "debian.list"
    listed.write_text("https://near.example/debian\nhttps://far.example/debian\n")
    assert choose([(f"mirror+file:{listed}", "trixie")]).main == "https://near.example/debian"


def test_a_machine_without_a_debian_archive_is_told_so():
    with pytest.raises(LabError, match="name no Debian archive"):
        choose([("http://archive.example/ubuntu", "noble")])
