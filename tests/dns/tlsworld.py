"""A web server with a policy and a mail server with STARTTLS on loopback, with certificates to taste."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Identity:
    """A key and a certificate for it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem_key(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def context(self, directory: Path, *above: Identity) -> ssl.SSLContext:
        """What a server with it uses; it shows the certificates `above`, too."""
        file = directory / f"{self.certificate.serial_number}.pem"
        file.write_text(self.pem_key + "".join(each.pem for each in (self, *above)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def authority(name: str) -> Identity:
    """A CA."""
    return _made(name, None, lasts=timedelta(days=30))


def leaf(name: str, ca: Identity, *, lasts: timedelta = timedelta(days=30)) -> Identity:
    """A server's certificate; `lasts` may be negative."""
    return _made(name, ca, lasts=lasts)


def _made(name: str, ca: Identity | None, *, lasts: timedelta) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = ca or Identity(key, None)  # type: ignore[arg-type]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + lasts)
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False
        )
    )
    if ca is None:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    else:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    return Identity(key, builder.sign(signer.key, SHA256()))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle of a handshake is what some tests are about."""


@dataclass
class Web:
    """What the web server does."""

    context: ssl.SSLContext
    document: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    port: int = 0
    hosts: list[str] = field(default_factory=list)
    """What clients said in the handshake."""


@contextmanager
def web_server(web: Web) -> Iterator[Web]:
    """Serve it."""

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            context = web.context
            context.sni_callback = lambda _, name, __: web.hosts.append(name)
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def do_GET(self) -> None:
            self.send_response(web.status)
            if web.status in (301, 302):
                self.send_header("Location", "https://elsewhere.example/")
            if web.content_type:
                self.send_header("Content-Type", web.content_type)
            self.send_header("Content-Length", str(len(web.document)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(web.document)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with _serving(Handler) as web.port:
        yield web


@dataclass
class Mail:
    """What the mail server does."""

    context: ssl.SSLContext
    offers: bool = True
    """STARTTLS."""
    starts: bool = True
    """TLS, when asked to."""
    greeting: str = "220 ready"
    port: int = 0


@contextmanager
def mail_server(mail: Mail) -> Iterator[Mail]:
    """Serve it."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say(mail.greeting)
            while line := self.rfile.readline().decode().strip().upper():
                if line.startswith("EHLO"):
                    self._say("250-mx", "250-STARTTLS" if mail.offers else "250-PIPELINING", "250 HELP")
                elif line == "STARTTLS" and not mail.starts:
                    self._say("454 4.7.0 TLS not available due to local problem")
                elif line == "STARTTLS" and mail.offers:
                    self._say("220 go ahead")
                    self.request = mail.context.wrap_socket(self.request, server_side=True)
                    self.setup()
                else:
                    self._say("221 bye" if line == "QUIT" else "502 no")

        def _say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    with _serving(Handler) as mail.port:
        yield mail


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
