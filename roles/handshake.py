"""TLS on a port of the machine, as openssl tries it from the machine itself."""

from __future__ import annotations

import re

from mailwright.model.errors import UnknownError
from mailwright.model.role import Check, Result

_OLD = "-tls1_1 -cipher DEFAULT@SECLEVEL=0"
# A key that was exchanged by RSA opens what was recorded; nobody proves anything without a certificate; CBC
# with SHA-1 and MD5 are broken or nearly. RFC 9325 section 4.2
_WEAK = "-tls1_2 -cipher kRSA:aNULL:eNULL:3DES:MD5:SHA1:@SECLEVEL=0"


def old_refused(port: int, place: str, options: str = "") -> Check:
    """Nothing below TLS 1.2 (RFC 8996). `place`: an address as in a URL; `options`: openssl-s_client(1)'s."""
    return _refused(f"{port} refuses TLS below 1.2", port, place, f"{options} {_OLD}")


def weak_refused(port: int, place: str, options: str = "") -> Check:
    """No cipher without forward secrecy, authentication or a sound digest."""
    return _refused(f"{port} refuses weak ciphers", port, place, f"{options} {_WEAK}")


def _refused(name: str, port: int, place: str, options: str) -> Check:
    command = f"timeout 20 openssl s_client -connect {place}:{port} {options} </dev/null 2>&1"

    def judge(result: Result) -> str | None:
        found = re.search(r"Cipher is (\S+)", result.stdout)
        if found is None:
            said = result.stdout.strip().splitlines()[-1:] or ["nothing"]
            raise UnknownError(f"no handshake was tried: {said[0][:200]}")
        version = re.search(r"New, (\S+),", result.stdout)
        if found[1] != "(NONE)":
            return f"it agrees to {version[1] if version else 'TLS'} with {found[1]}"
        # Who refuses says so (RFC 8446 section 6.2). One that hangs up has not been asked.
        if "alert" not in result.stdout:
            raise UnknownError("it refuses nothing, and agrees to nothing: there was no handshake")
        return None

    return Check(name, command, judge, "mailwright apply")
