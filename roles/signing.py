"""Whether a signer signs: a message is put before it as Postfix would, and its signature is verified here.

The message goes no further than the signer, which logs nothing of one that it signed.
"""

from __future__ import annotations

import re
import shlex
from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailwright.model.errors import UnknownError
from mailwright.model.role import Check, Result

_BODY = "hello\r\n"
_REST = {"Subject": "mailwright verify", "Message-ID": "<verify@mailwright.invalid>"}

# The milter protocol, version 6, as an MTA speaks it that leaves no step out and wants each one answered:
# options, connect, macros, sender, recipient, headers, body, end. What is added comes before the verdict.
# (libmilter's mfdef.h; https://www.postfix.org/MILTER_README.html)
_TALK = r"""use IO::Socket::UNIX; $| = 1; $SIG{ALRM} = sub { print "late\n"; exit }; alarm 15;
my %verdict = (a => "accept", d => "discard", r => "reject", t => "tempfail");
sub put { my $p = join "", @_; syswrite $s, pack("N", length $p) . $p }
sub get { read($s, my $n, 4) == 4 or die "it hangs up\n"; read $s, my $p, unpack("N", $n); $p }
sub ask {
  put(@_); my $p = get();
  die "it answers ", $verdict{$1} // ($p =~ /^y([^\0]*)/)[0], "\n" if $p =~ /^([adrty])/;
}
my ($from, @headers) = splice @ARGV, 0, 5;
for my $path (@ARGV) {
  print "signer $path\n";
  our $s = IO::Socket::UNIX->new(Peer => $path) or do { print "away: $!\n"; next };
  eval {
    ask("O", pack "NNN", 6, 0x1ff, 0);
    ask("C", "localhost\0004", pack("n", 25), "127.0.0.1\0");
    put("D", "Mi\0mailwright-verify\0"); ask("M", "<$from>\0");
    ask("R", "<$from>\0");
    ask("L", "From\0<$from>\0");
    for (my $i = 0; $i < @headers; $i += 2) { ask("L", "$headers[$i]\0$headers[$i + 1]\0") }
    ask("N"); ask("B", "hello\r\n"); put("E");
    while (my $p = get()) {
      print "added $1: ", $2 =~ s/\r?\n/ /gr, "\n" if $p =~ /^[ih](?:....)?(DKIM-Signature)\0([^\0]*)\0/s;
      last if $p =~ /^[acdrty]/;
    }
    1
  } or print "stopped: $@";
}"""


def signs(domain: str, selector: str, sockets: Iterable[str], remedy: str) -> Check:
    """Each of the signers at `sockets` signs mail of `domain` so that the key in the DNS verifies it."""
    author = f"verify@{domain}"
    words = [author, *(word for header in _REST.items() for word in header), *sockets]
    name = f"{selector}._domainkey.{domain}"
    command = (
        f"timeout 20 perl -e {shlex.quote(_TALK)} {shlex.join(words)}; dig +time=5 +tries=2 +short {name} TXT"
    )

    def judge(result: Result) -> str | None:
        published = re.search(r"(?:^|;)\s*p=\s*([^;]*)", "".join(re.findall(r'"([^"]*)"', result.stdout)))
        if published is None:
            raise UnknownError(f"{name} is not to be had, so that nothing can be verified")
        faults, late = [], ""
        for part in result.stdout.split("signer ")[1:]:
            path, _, said = part.partition("\n")
            if said.startswith("late\n"):  # the last one that was asked
                late = path.rpartition("/")[2]
                continue
            found = _fault(domain, selector, author, said, b64decode(published[1].replace(" ", "")))
            faults += [f"{path.rpartition('/')[2]}: {found}"] if found else []
        if "signer " not in result.stdout:
            raise UnknownError(f"the signers were not asked: {result.stderr.strip()[:200]}")
        if late and not faults:
            raise UnknownError(f"{late} gave no answer in time")
        return "; ".join(faults) or None

    return Check(f"mail of {domain} is signed by {selector}", command, judge, remedy)


def _fault(domain: str, selector: str, author: str, said: str, key: bytes) -> str | None:
    added = re.findall(r"^added DKIM-Signature: (.*)$", said, re.MULTILINE)
    if not added:
        away = re.search(r"^away: (.*)$", said, re.MULTILINE)
        stopped = re.search(r"^stopped: (.*)$", said, re.MULTILINE)
        reason = f": {stopped[1]}" if stopped else ""
        return f"it is away: {away[1]}" if away else f"it does not sign{reason}"
    (value, *_) = added
    tags = {k.strip(): v.strip() for k, _, v in (tag.partition("=") for tag in value.split(";"))}
    if (tags.get("d"), tags.get("s")) != (domain, selector):
        return f"it signs by {tags.get('s')} of {tags.get('d')}"
    return None if verified({"From": f"<{author}>", **_REST}, _BODY, value, key) else "its signature is wrong"


def verified(headers: dict[str, str], body: str, value: str, key: bytes) -> bool:
    """Whether a DKIM-Signature of a message verifies (RFC 6376 section 3.7, RFC 8463 section 3).

    Headers without folds, each at most once, a body without white space at ends of lines: what the
    canonicalization `relaxed/relaxed` leaves as it is. `key`: the octets of the published `p=`.
    """
    tags = {k.strip(): re.sub(r"\s", "", v) for k, _, v in (tag.partition("=") for tag in value.split(";"))}
    if b64decode(tags["bh"]) != sha256(body.encode()).digest():
        return False
    left = {name.lower(): text for name, text in headers.items()}
    lines = [f"{n}:{left.pop(n)}\r\n" for n in tags["h"].lower().split(":") if n in left]
    own = re.sub(r"(;\s*b=)[^;]*", r"\1", " ".join(value.split()))
    data = f"{''.join(lines)}dkim-signature:{own.rstrip()}".encode()
    try:
        _verify(tags["a"], key, b64decode(tags["b"]), data)
    except InvalidSignature:
        return False
    return True


def _verify(algorithm: str, key: bytes, signature: bytes, data: bytes) -> None:
    if algorithm == "ed25519-sha256":
        Ed25519PublicKey.from_public_bytes(key).verify(signature, sha256(data).digest())
        return
    public = load_der_public_key(key)
    if not isinstance(public, RSAPublicKey):
        raise InvalidSignature
    public.verify(signature, data, PKCS1v15(), SHA256())
