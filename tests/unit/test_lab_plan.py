"""Pins what a lab is, by its fleet file alone: hosts, addresses, zones, and what cannot be one."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mailwright.lab.derive import reverse_zone, write_fleet
from mailwright.lab.plan import LabPlan
from mailwright.model.errors import LabError
from mailwright.model.fleet import Fleet, Lab
from mailwright.model.load import load_fleet

LAB = Path(__file__).parents[2] / "inventory" / "lab.yaml"


def _plan(edit=lambda _: None):
    data = YAML(typ="safe").load(LAB)
    edit(data)
    return LabPlan.of(Fleet.model_validate(data), Path("lab.yaml"))


def test_the_world_is_at_its_addresses_and_the_fleet_at_those_of_its_file():
    addresses = {h.name: [str(i) for i in h.interfaces] for h in _plan().hosts}
    assert addresses["ns"] == ["198.51.100.53/24", "2001:db8:100::53/64"]
    assert addresses["mailbox"] == ["198.51.100.25/24", "2001:db8:100::25/64"]
    assert addresses["out1"] == ["198.51.100.11/24", "2001:db8:100::11/64"]


def test_both_releases_are_in_the_lab():
    fleet = {h.release for h in _plan().hosts if not h.world}
    assert fleet == {"bookworm", "trixie"}


def test_zones_below_the_parent_are_delegated_and_all_others_are_anchored():
    plan = _plan()
    assert {"brightpost.example.", "parcelnote.example."} < set(plan.fleet_zones)
    assert plan.anchored_zones == ("example.", *(z for z in plan.fleet_zones if z.endswith(".arpa.")))


def test_a_zone_of_another_provider_is_not_the_labs():
    def edit(data):
        data["providers"]["far"] = data["providers"]["knot"] | {"server": "203.0.113.53"}
        data["domains"][0]["provider"] = "far"

    assert "brightpost.example." not in _plan(edit).fleet_zones


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("lab"), "has no `lab` section"),
        (
            lambda d: d["machines"][0].update(ipv4="192.0.2.9"),
            "machine out1: 192.0.2.9 is not a free address",
        ),
        (lambda d: d["machines"][0].update(ipv4="198.51.100.53"), "198.51.100.53 is not a free address"),
        (lambda d: d["machines"][0].update(ipv6="2001:db8:100::1"), "2001:db8:100::1 is not a free address"),
        (lambda d: d["machines"][0].update(name="mailbox"), "machine mailbox: the lab's own world"),
    ],
)
def test_a_fleet_that_does_not_fit_is_told_in_one_line(edit, message):
    with pytest.raises(LabError, match=message) as caught:
        _plan(edit)
    assert "\n" not in str(caught.value)


def test_without_a_provider_at_the_name_server_there_are_no_zones():
    plan = _plan(lambda d: d["providers"]["knot"].update(server="203.0.113.53"))
    with pytest.raises(LabError, match=r"no provider has the lab's name server 198.51.100.53"):
        _ = plan.fleet_zones


def test_an_unknown_host_is_answered_with_those_there_are():
    with pytest.raises(LabError, match="no host mx9; it has ns, mailbox, outside, ca, depot, out1"):
        _plan().host("mx9")


def _other(name="other", ipv4="198.18.7.0/24", ipv6="2001:db8:7::/64"):
    return Lab.model_validate({"name": name, "ipv4": ipv4, "ipv6": ipv6})


def test_a_second_lab_shares_no_name_address_or_place_with_the_first(tmp_path):
    file = write_fleet(LAB, _other(), tmp_path)
    text = file.read_text()
    for trace in ("198.51.100", "100.51.198", "2001:db8:100:", "0.0.1.0.8.b.d", "/lab/lab/"):
        assert trace not in text.split("machines:")[0].replace("lab/lab.yaml", "")
        assert trace not in text.split("machines:")[1]
    plan = LabPlan.of(load_fleet(file), file)
    assert (plan.name, plan.bridge) == ("other", "mw-other")
    assert plan.anchored_zones == (
        "example.",
        "7.18.198.in-addr.arpa.",
        "0.0.0.0.7.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
    )


def test_a_second_lab_is_otherwise_the_first(tmp_path):
    first, second = load_fleet(LAB), load_fleet(write_fleet(LAB, _other(), tmp_path))
    assert [m.name for m in first.machines] == [m.name for m in second.machines]
    assert first.domains == second.domains
    assert "pyinfra" in (tmp_path / "other.py").read_text()


def test_networks_of_another_size_are_refused(tmp_path):
    with pytest.raises(LabError, match=r"198\.18\.0\.0/16: the network it takes the place of is a /24"):
        write_fleet(LAB, _other(ipv4="198.18.0.0/16"), tmp_path)


def test_reverse_zones():
    lab = _other()
    assert reverse_zone(lab.ipv4) == "7.18.198.in-addr.arpa"
    assert reverse_zone(lab.ipv6) == "0.0.0.0.7.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
