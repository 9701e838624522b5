"""Pins that a signature is verified as the world would, by one that somebody else's software has made."""

import base64
import re
import socket
import struct
import subprocess
import threading

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailwright.model.errors import UnknownError
from mailwright.model.role import Result
from roles import signing

DOMAIN = "brightpost.example"
MESSAGE = (
    f"From: <verify@{DOMAIN}>\r\nSubject: mailwright verify\r\n"
    "Message-ID: <verify@mailwright.invalid>\r\n\r\nhello\r\n"
).encode()
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
OVERSIGNED = [b"from", b"subject", b"message-id", b"from", b"to", b"subject", b"reply-to"]


def secret(key):
    if key is ED25519:
        return base64.b64encode(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public(key):
    form = (
        (Encoding.Raw, PublicFormat.Raw)
        if key is ED25519
        else (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(key.public_key().public_bytes(*form)).decode()


def signature(key, message=MESSAGE, selector="r2026", domain=DOMAIN):
    """A signature's value by dkimpy."""
    algorithm = b"ed25519-sha256" if key is ED25519 else b"rsa-sha256"
    made = dkim.sign(
        message, selector.encode(), domain.encode(), secret(key), canonicalize=(b"relaxed", b"relaxed"),
        signature_algorithm=algorithm, include_headers=OVERSIGNED,
    )  # fmt: skip
    return re.sub(r"\s*\r\n\s+", " ", made.decode().partition(":")[2]).strip()


def judged(answer, key, signers=1):
    check = signing.signs(DOMAIN, "r2026", [f"/spool/rsa-{n}.sock" for n in range(signers)], "look")
    shown = "".join(f"signer /spool/rsa-{n}.sock\n{answer}" for n in range(signers))
    return check.judge(Result(0, f'{shown}"v=DKIM1; k=rsa; p={key}"\n', ""))


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_good_signature_is_one_and_a_changed_message_has_none(key):
    assert judged(f"added DKIM-Signature: {signature(key)}\n", public(key), signers=2) is None
    for changed in (MESSAGE.replace(b"hello", b"hallo"), MESSAGE.replace(b"verify\r", b"verified\r")):
        found = judged(f"added DKIM-Signature: {signature(key, changed)}\n", public(key))
        assert found == "rsa-0.sock: its signature is wrong"


def test_a_signature_by_another_key_than_the_published_is_a_fault():
    other = public(rsa.generate_private_key(65537, 2048))
    assert judged(f"added DKIM-Signature: {signature(RSA)}\n", other) == "rsa-0.sock: its signature is wrong"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("", "it does not sign"),
        ("away: No such file or directory\n", "it is away: No such file or directory"),
        ("stopped: it answers tempfail\n", "it does not sign: it answers tempfail"),
        (f"added DKIM-Signature: {signature(RSA, selector='old')}\n", f"it signs by old of {DOMAIN}"),
        (f"added DKIM-Signature: {signature(RSA, domain='x.example')}\n", "it signs by r2026 of x.example"),
    ],
)
def test_a_signer_that_does_not_do_its_work_is_named(answer, found):
    assert judged(answer, public(RSA)) == f"rsa-0.sock: {found}"


def test_a_signer_that_hangs_is_unknown_unless_another_is_at_fault():
    check = signing.signs(DOMAIN, "r2026", ["/spool/rsa-0.sock", "/spool/rsa-1.sock"], "look")
    published = f'"v=DKIM1; k=rsa; p={public(RSA)}"\n'
    with pytest.raises(UnknownError, match=r"rsa-0\.sock gave no answer in time"):
        check.judge(Result(0, f"signer /spool/rsa-0.sock\nlate\n{published}", ""))
    away = "signer /spool/rsa-0.sock\naway: gone\nsigner /spool/rsa-1.sock\nlate\n"
    assert check.judge(Result(0, away + published, "")) == "rsa-0.sock: it is away: gone"


def test_a_signer_that_hangs_says_so(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "rsa-0.sock"))
        listener.listen()
        made = signing.signs(DOMAIN, "r2026", [str(tmp_path / "rsa-0.sock")], "look")
        command = made.command.partition("; dig ")[0].replace("alarm 15", "alarm 1")
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"signer {tmp_path}/rsa-0.sock", "late"]


def test_without_a_published_key_nothing_is_verified():
    check = signing.signs(DOMAIN, "r2026", ["/spool/rsa-0.sock"], "look")
    with pytest.raises(UnknownError):
        check.judge(Result(9, "signer /spool/rsa-0.sock\n;; no servers could be reached\n", ""))
    with pytest.raises(UnknownError):
        check.judge(Result(0, f'"v=DKIM1; k=rsa; p={public(RSA)}"\n', "perl: not found"))


class Signer(threading.Thread):
    """A milter that takes what it is told, adds one header to it, and keeps all packets."""

    def __init__(self, path, value, headers=b"c"):
        super().__init__(daemon=True)
        self.value, self.headers, self.packets = value, headers, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self):
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rwb", 0) as stream:
            while size := stream.read(4):
                packet = stream.read(struct.unpack("!I", size)[0])
                self.packets.append(packet)
                added = struct.pack("!I", 1) + b"DKIM-Signature\0" + self.value + b"\0"
                answers = {b"O": [packet], b"D": [], b"N": [self.headers], b"E": [b"i" + added, b"a"]}
                for answer in answers.get(packet[:1], [b"c"]):
                    stream.write(struct.pack("!I", len(answer)) + answer)


def test_a_signer_is_spoken_to_as_postfix_does(tmp_path):
    value = b"v=1; a=rsa-sha256; d=brightpost.example;\n\ts=r2026; b=abc"
    signer = Signer(tmp_path / "rsa-0.sock", value)
    signer.start()
    sockets = [str(tmp_path / "rsa-0.sock"), str(tmp_path / "gone.sock")]
    command = signing.signs(DOMAIN, "r2026", sockets, "look").command.partition("; dig ")[0]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    signer.join(5)
    assert done.stdout.splitlines() == [
        f"signer {sockets[0]}",
        "added DKIM-Signature: v=1; a=rsa-sha256; d=brightpost.example; \ts=r2026; b=abc",
        f"signer {sockets[1]}",
        "away: No such file or directory",
    ]
    assert signer.packets == [
        b"O" + struct.pack("!III", 6, 0x1FF, 0),
        b"Clocalhost\x004\x00\x19127.0.0.1\0",
        b"DMi\0mailwright-verify\0",
        b"M<verify@brightpost.example>\0",
        b"R<verify@brightpost.example>\0",
        b"LFrom\0<verify@brightpost.example>\0",
        b"LSubject\0mailwright verify\0",
        b"LMessage-ID\0<verify@mailwright.invalid>\0",
        b"N",
        b"Bhello\r\n",
        b"E",
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"t", "tempfail"), (b"y451 4.7.1 no key\0", "451 4.7.1 no key"), (b"a", "accept")],
)
def test_a_signer_that_refuses_a_message_is_not_asked_for_more(tmp_path, answer, said):
    """OpenDKIM does so at the end of the headers when it may not use a key; more it would never answer."""
    signer = Signer(tmp_path / "rsa-0.sock", b"", answer)
    signer.start()
    socket_path = str(tmp_path / "rsa-0.sock")
    command = signing.signs(DOMAIN, "r2026", [socket_path], "look").command.partition("; dig ")[0]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    signer.join(5)
    assert done.stdout.splitlines() == [f"signer {socket_path}", f"stopped: it answers {said}"]
    assert signer.packets[-1] == b"N"
