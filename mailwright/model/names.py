"""How names, addresses and keys are written in a fleet file, and the sentence for each that is not.

Each function takes a value as YAML gives it, returns it typed or in its one spelling, and raises
ValueError with a sentence for the operator.
"""

from __future__ import annotations

import re
from base64 import b64decode
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

SLUG: Final = r"^[a-z][a-z0-9-]{0,30}$"
ROLE: Final = r"^[a-z][a-z0-9_]{0,30}$"
SECRET: Final = r"^[a-z0-9][a-z0-9._/@-]*$"  # noqa: S105 - the shape of a name
LOGIN: Final = r"^[a-z0-9][a-z0-9._-]*$"
LAB: Final = r"^[a-z][a-z0-9]{0,7}$"
DURATION: Final = r"^[1-9][0-9]{0,3}[smhdw]$"
ACCOUNT: Final = r"^[a-z_][a-z0-9_-]{0,31}$"
HOST_LABEL: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
METHOD: Final = r"^[A-Za-z0-9-]+$"

PATTERNS: Final = {
    SLUG: "not a name (a lower-case letter, then letters, digits and hyphens, at most 31)",
    ROLE: "not a role's name (a lower-case letter, then letters, digits and _, at most 31)",
    SECRET: "not a secret's name (lower-case letters, digits and . _ / @ -)",
    LOGIN: "not a login (lower-case letters, digits and . _ -)",
    ACCOUNT: "not an account (lower-case letters, digits and _ -, at most 32)",
    HOST_LABEL: "not one label of a host name (lower-case letters, digits and inner hyphens, at most 63)",
    METHOD: "not a validation method (letters, digits and hyphens, for example dns-01)",
    DURATION: "not a duration (a number up to 9999 and s, m, h, d or w, for example 3d)",
    LAB: "not a lab's name (a lower-case letter, then letters and digits, at most 8)",
}
"""What a value is said to be that does not match the pattern."""

_NAME, _LABEL, _LOCAL = 253, 63, 64  # RFC 1035 2.3.4, RFC 5321 4.5.3.1.1: octets
_RSA_BITS = 2048
# RFC 5322 3.2.3: dot-atom, without the quoted form: no mailbox of a fleet needs it, and it is an
# old friend of header injection.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# RFC 3986 2.2 without what ends a tag, a list or a string in the records that hold it: ; , ! " and backslash.
_HTTPS = re.compile(
    r"https://[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?(?:[/?][a-zA-Z0-9%/?#@:&=+$.~_*'()-]*)?"
)
_SSH_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_SSH_HARDWARE_TYPES = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")


class DnsName(str):
    """A host or domain name: lower-case, absolute, with its final dot (RFC 1035, RFC 1123).

    The fleet file may leave the dot out; from here on it is always there.
    """

    __slots__ = ()

    @property
    def bare(self) -> str:
        """The name without its final dot, as mail software writes it."""
        return self.removesuffix(".")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: object, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema(strict=True))

    @classmethod
    def parse(cls, text: str) -> DnsName:
        """Read a name.

        Raises:
            ValueError: not a name of letters, digits and hyphens in labels of 1 to 63 octets.
        """
        name = text.lower().removesuffix(".")
        labels = name.split(".")
        if not name.isascii():
            raise ValueError(f"not a host or domain name (international names in their xn-- form): {text}")
        if len(name) > _NAME or not all(_is_label(label) for label in labels):
            raise ValueError(f"not a host or domain name: {text}")
        return cls(name + ".")


def _is_label(label: str) -> bool:
    ok = label.isascii() and label.replace("-", "").replace("_", "").isalnum() and 0 < len(label) <= _LABEL
    return ok and not label.startswith("-") and not label.endswith("-")


def host_name(name: DnsName) -> DnsName:
    """A name that a host can greet with: no underscore, at least two labels (RFC 1123 2.1)."""
    if "." not in name.bare or "_" in name or name.bare.rpartition(".")[2].isdigit():
        raise ValueError(f"not a full host name: {name.bare}")
    return name


def ipv4(value: object) -> IPv4Address:
    """An IPv4 address."""
    found = _address(value)
    if isinstance(found, IPv4Address):
        return found
    raise ValueError(f"not an IPv4 address: {value}")


def ipv6(value: object) -> IPv6Address:
    """An IPv6 address, without a zone."""
    found = _address(value)
    if isinstance(found, IPv6Address) and found.scope_id is None:
        return found
    raise ValueError(f"not an IPv6 address: {value}")


def address(value: object) -> IPv4Address | IPv6Address:
    """An address of either family."""
    if (found := _address(value)) is None:
        raise ValueError(f"not an IP address: {value}")
    return found


def _address(value: object) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(value) if isinstance(value, (str, IPv4Address, IPv6Address)) else None
    except ValueError:
        return None


def network(value: object) -> IPv4Network | IPv6Network:
    """A network in prefix notation; an address alone is the network of that one address."""
    try:
        if isinstance(value, (str, IPv4Network, IPv6Network)):
            return ip_network(value)
    except ValueError:
        try:
            meant = ip_network(str(value), strict=False)
        except ValueError:
            pass
        else:
            raise ValueError(f"an address inside a network: {value}; the network is {meant}") from None
    raise ValueError(f"not an IP network: {value}")


def mailbox(text: str) -> str:
    """A mail address `name@domain`, its domain in lower case."""
    local, at, domain = text.rpartition("@")
    try:
        name = DnsName.parse(domain)
    except ValueError:
        name = None
    if not at or name is None or len(local) > _LOCAL or not _LOCAL_PART.fullmatch(local):
        raise ValueError(f"not a mail address: {text}")
    return f"{local}@{name.bare}"


def sender(text: str) -> str:
    """What a login may send as: a mail address, or `@domain` for every address of the domain."""
    if not text.startswith("@"):
        return mailbox(text)
    return mailbox("any" + text).removeprefix("any")


def report_uri(text: str) -> str:
    """Where DMARC reports go: a `mailto:` URI (RFC 7489 6.2)."""
    if not text.startswith("mailto:"):
        raise ValueError(f"not a mailto: address: {text}")
    return "mailto:" + mailbox(text.removeprefix("mailto:"))


def https_uri(text: str) -> str:
    """An `https://` URL as a record can hold it: blanks, quotes and `;` percent-encoded."""
    if not _HTTPS.fullmatch(text):
        raise ValueError(f"not an https: URL: {text}")
    return text


def report_target(text: str) -> str:
    """Where reports go by mail or by HTTPS: `mailto:` or `https://` (RFC 8460 3, RFC 8659 4.4)."""
    if text.startswith("https://"):
        return https_uri(text)
    if not text.startswith("mailto:"):
        raise ValueError(f"not a mailto: address or https: URL: {text}")
    return report_uri(text)


def ssh_address(text: str) -> str:
    """Where an SSH client connects to: an address or a host name."""
    return text if _address(text) else DnsName.parse(text).bare


def ssh_key(text: str) -> str:
    """An OpenSSH public key line without options (sshd(8), AUTHORIZED_KEYS FILE FORMAT)."""
    key = text.strip()
    kind, _, rest = key.partition(" ")
    if "PRIVATE KEY" in key:
        raise ValueError(
            "a private key; the fleet file takes the public one (the .pub file). Replace this key"
        )
    if "\n" in key:
        raise ValueError("one public key a line, each an item of the list")
    if kind not in _SSH_TYPES + _SSH_HARDWARE_TYPES:
        known = ", ".join(_SSH_TYPES + _SSH_HARDWARE_TYPES)
        raise ValueError(f"not an OpenSSH public key; it starts with one of {known}")
    _check_ssh_key(kind, rest, key)
    return key


def _check_ssh_key(kind: str, rest: str, key: str) -> None:
    damaged = ValueError(f"not an OpenSSH public key: damaged or cut short after {kind}")
    try:
        blob = b64decode(rest.partition(" ")[0], validate=True)
        # cryptography reads no hardware keys: they must at least hold what they say they do
        parsed = None if kind in _SSH_HARDWARE_TYPES else load_ssh_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise damaged from None
    if blob[4 : 4 + len(kind)] != kind.encode():
        raise damaged
    if isinstance(parsed, RSAPublicKey) and parsed.key_size < _RSA_BITS:
        raise ValueError(
            f"an RSA key of {parsed.key_size} bits; sshd wants 2048 at least, ssh-ed25519 is better"
        )
