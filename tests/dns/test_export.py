"""Zones written out: servers load them, and serve just what the fleet wants."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octodns.provider.yaml import YamlProvider
from octodns.zone import Zone

from maildns.errors import RecordError
from maildns.providers.masterfile import Spine, read_zone, write_zone
from maildns.providers.octodns_records import PLAIN, rrset_of
from maildns.providers.rfc2136 import Rfc2136
from maildns.records import rrset
from mailwright.command import dns_export
from mailwright.command.main import run
from mailwright.zones import desired
from tests.dns.fullfleet import FLEET, ZONES, open_fleet, write_fleet
from tests.dns.knot import knot_config
from tests.dns.server import KEY, free_port, running


@pytest.fixture
def export(tmp_path, capsys, monkeypatch):
    """Run `dns export` over the full fleet: (status, standard output, standard error)."""
    file = write_fleet(tmp_path)
    monkeypatch.setattr(dns_export, "open_site", open_fleet)

    def call(*arguments):
        status = run(["dns", "export", str(file), *map(str, arguments)])
        return (status, *capsys.readouterr())

    call.file = file
    return call


def wanted(file):
    zones = desired(open_fleet(file))
    return {r.key: r for r in (*(r for z in zones.zones for r in z.rrsets), *zones.by_hand)}


def test_a_real_server_loads_each_whole_zone_and_serves_what_the_fleet_wants(export, tmp_path):
    out, port = tmp_path / "zones", free_port()
    assert export("--out", out, "--ns", "ns1.example.net", "--ns", "ns2.example.net")[0] == 0
    config = knot_config(tmp_path, port)
    for zone in ZONES:
        config += f"  - domain: {zone}\n    file: {out}/{zone}zone\n"
    (tmp_path / "knot.conf").write_text(config)
    served = {}
    with running(["knotd", "-c", str(tmp_path / "knot.conf")], tmp_path, port, ZONES[0]):
        for zone in ZONES:
            rrsets = Rfc2136("127.0.0.1", "all.", KEY, port=port).fetch(zone).rrsets
            served |= {r.key: r for r in rrsets if r.key != (zone, "NS")}
    elsewhere = read_zone((out / "elsewhere.zone").read_text(), ".")
    assert served | {r.key: r for r in elsewhere} == wanted(export.file)
    assert {r.name for r in elsewhere} == {
        "1.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.8.b.d.0.1.0.0.2.ip6.arpa.",
        "brightpost.example._report._dmarc.reports.example.net.",
    }


def test_named_checkzone_has_nothing_to_complain_about(export, tmp_path):
    assert shutil.which("named-checkzone")
    export("--out", tmp_path / "zones", "--ns", "ns1.example.net", "--serial", "2026113001")
    for zone in ZONES:
        checked = subprocess.run(
            ["named-checkzone", "-i", "local", zone, tmp_path / "zones" / f"{zone}zone"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout
        assert checked.stdout.splitlines() == [f"zone {zone[:-1]}/IN: loaded serial 2026113001", "OK"]


def test_standard_output_is_one_file_of_all_zones_and_the_same_each_time(export):
    status, text, notes = export()
    assert (status, notes) == (0, "")
    assert {r.key: r for r in read_zone(text, ".")} == wanted(export.file)
    assert export() == (0, text, "")
    assert "; mx1.brightpost.example takes mail for brightpost.example\n@ IN MX 10 mx1" in text


def test_one_zone_alone_or_none_that_the_fleet_knows(export):
    text = export("--zone", "parcelnote.example")[1]
    assert {r.name.removeprefix("mail.") for r in read_zone(text, ".")} == {
        "parcelnote.example.",
        "_dmarc.parcelnote.example.",
    } | {"_dmarc.mail.parcelnote.example."}
    status, text, said = export("--zone", "nowhere.example")
    assert (status, text) == (1, "")
    assert "no records in nowhere.example; there are brightpost.example, parcelnote.example" in said


def test_octodns_reads_its_format_as_the_same_records(export, tmp_path):
    out = tmp_path / "octodns"
    status, _, notes = export("--out", out, "--format", "octodns")
    assert status == 0
    assert "left out, in no zone of the fleet file: " in notes
    read = {}
    for name in ZONES:
        zone = Zone(name, [])
        YamlProvider("here", str(out)).populate(zone)
        read |= {(r := rrset_of(record, PLAIN)).key: r for record in zone.records}
    assert read == {key: r for key, r in wanted(export.file).items() if key in read}
    assert len(read) == len(wanted(export.file)) - 2


def test_a_folder_that_cannot_be_written_is_one_line(export, tmp_path):
    (tmp_path / "file").touch()
    status, _, said = export("--out", tmp_path / "file")
    assert status == 1
    assert said.count("\n") == 1


def test_a_reason_never_becomes_a_record():
    each = rrset("a.example.", "A", 60, ["192.0.2.1"], ["first\nb IN A 192.0.2.66\r\x0b; end"])
    assert read_zone(write_zone("example.", [each], ["head\n@ IN A 192.0.2.67"]), "example.") == (each,)


texts = st.binary(max_size=700).map(lambda octets: octets.decode("utf-8", "surrogateescape"))


@given(texts, st.integers(0, 2**31 - 1))
def test_every_text_is_read_back_octet_by_octet(text, ttl):
    each = [
        rrset("*.x.example.", "TXT", ttl, [text]),
        rrset("example.", "TXT", 60, [text, "another"]),
        rrset(r"a\;b\@c\032d.example.", "A", 60, ["192.0.2.1"]),
    ]
    assert set(read_zone(write_zone("example.", each), "other.example.")) == set(each)


def test_the_spine_escapes_the_mailbox_of_the_hostmaster():
    text = write_zone("example.", [], (), Spine(("ns.example.",), "post.master@example.net", 7))
    (soa,) = [r for r in read_zone(text, "example.") if r.type == "SOA"]
    assert soa.rdata == {r"ns.example. post\.master.example.net. 7 7200 900 1209600 3600"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@ 60 IN A 192.0.2.1\nx 60 IN A 192.0.2.256\n", "near line [23]: "),
        ("x 60 IN NOTYPE y\n", "near line 1: "),
        ("$INCLUDE /etc/passwd\n", "near line 1: "),
        ('x 60 IN TXT "open\n', "near line 2: "),
    ],
)
def test_what_is_no_master_file_is_one_line_with_its_place(text, said):
    with pytest.raises(RecordError, match=said) as caught:
        read_zone(text, "example.")
    assert "\n" not in str(caught.value)


def test_nothing_in_a_master_file_is_left_out():
    """Servers and libraries pass over what is out of zone, and what stands beside a CNAME."""
    text = "@ 60 A 192.0.2.1\nx 60 CNAME y\nx 60 A 192.0.2.2\nother.example.net. 60 A 192.0.2.3\n"
    assert {r.key for r in read_zone(text, "example.")} == {
        ("example.", "A"),
        ("x.example.", "CNAME"),
        ("x.example.", "A"),
        ("other.example.net.", "A"),
    }


def test_the_fleet_of_these_tests_wants_every_kind_of_record(tmp_path):
    types = {type_ for _, type_ in wanted(write_fleet(tmp_path, FLEET))}
    assert types == {"A", "AAAA", "CAA", "CNAME", "MX", "PTR", "SRV", "TXT"}


def test_a_name_server_has_a_host_name(export):
    status, out, said = export("--ns", "bad name")
    assert (status, out, said.count("\n")) == (1, "", 1)
    assert said.startswith("--ns: ")
