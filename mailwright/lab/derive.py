"""A second lab out of the first: the same fleet under another name and in other networks."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import dns.name
import dns.reversename
from ruamel.yaml import YAML

from mailwright.elsewhere import write_shim
from mailwright.lab.paths import lab_state
from mailwright.model.errors import LabError
from mailwright.model.fleet import Lab


def write_fleet(source: Path, new: Lab, folder: Path) -> Path:
    """Write `NAME.yaml` and its pyinfra shim `NAME.py` into `folder`; returns the former.

    The fleet in `source` keeps its machines and domains; its lab's name, networks, reverse zones and
    places on the controller become those of `new`.

    Raises:
        LabError: `source` is not the fleet of a lab, or the networks are of other sizes.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    data = yaml.load(source.read_text())
    section = data.get("lab") if isinstance(data, dict) else None
    if not isinstance(section, dict):
        raise LabError(f"{source}: this fleet has no `lab` section")
    old = Lab.model_validate(dict(section))
    data = _Renumbering(old, new).of(data)
    data["lab"]["name"] = new.name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{new.name}.yaml"
    with target.open("w") as stream:
        yaml.dump(data, stream)
    write_shim(target)
    return target


@dataclass(frozen=True)
class _Renumbering:
    """Every text of a fleet file that speaks of the old lab, said of the new one."""

    old: Lab
    new: Lab

    def __post_init__(self) -> None:
        for before, after in self._pairs():
            if before.prefixlen != after.prefixlen:
                raise LabError(f"{after}: the network it takes the place of is a /{before.prefixlen}")

    def of(self, value: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
        """The value with all texts in it renumbered, keys too; comments stay where they are."""
        if isinstance(value, dict):
            for key in list(value):
                inner, renamed = self.of(value[key]), self.of(key)
                if renamed == key:
                    value[key] = inner
                else:
                    place = list(value).index(key)
                    del value[key]
                    value.insert(place, renamed, inner)  # type: ignore[attr-defined] # ruamel's ordered mapping
            return value
        if isinstance(value, list):
            value[:] = [self.of(inner) for inner in value]
            return value
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        places = f"{lab_state(self.old.name)}/"
        if text.startswith(places):
            return f"{lab_state(self.new.name)}/" + text.removeprefix(places)
        for before, after in self._pairs():
            dot = "." if text.endswith(".") else ""
            if text.removesuffix(".") == reverse_zone(before):
                return reverse_zone(after) + dot
        return self._address(text) or self._network(text) or text

    def _address(self, text: str) -> str | None:
        try:
            address = ip_address(text)
        except ValueError:
            return None
        for before, after in self._pairs():
            if address in before:
                return str(after[int(address) - int(before[0])])
        return None

    def _network(self, text: str) -> str | None:
        try:
            network = ip_network(text)
        except ValueError:
            return None
        for before, after in self._pairs():
            if network.version == before.version and network.subnet_of(before):  # type: ignore[arg-type]
                first = after[int(network[0]) - int(before[0])]
                return f"{first}/{network.prefixlen}"
        return None

    def _pairs(self) -> tuple[tuple[IPv4Network, IPv4Network], tuple[IPv6Network, IPv6Network]]:
        return (self.old.ipv4, self.new.ipv4), (self.old.ipv6, self.new.ipv6)


def reverse_zone(network: IPv4Network | IPv6Network) -> str:
    """The reverse zone of a network on a label's edge, without a final dot (RFC 1035 3.5, RFC 3596 2.5)."""
    bits = 8 if isinstance(network, IPv4Network) else 4
    host_labels = (network.max_prefixlen - network.prefixlen) // bits
    full = dns.reversename.from_address(str(network[0]))
    return dns.name.Name(full.labels[host_labels:]).to_text(omit_final_dot=True)
