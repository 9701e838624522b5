"""A client that verifies certificates as its users would have it. Run as a program: JSON in, JSON out.

    {"trusted": "-----BEGIN ...", "places": [["192.0.2.1", 587, "smtp.example.org", "ecdsa"], ...]}

`trusted` are the only authorities it believes (PEM). Each place is an address, a port, the name that the
server must prove, and the algorithm of the only keys that the client knows. Prints for each what went wrong,
or null.

It stands alone, so that it can run in another host's network.
"""

import json
import smtplib
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

TIMEOUT = 30
CIPHERS = {"ecdsa": "ECDHE+aECDSA", "rsa": "ECDHE+aRSA"}


class _Session(smtplib.SMTP):
    def __init__(self, address, port, name):
        self.address = address
        super().__init__(name, port, local_hostname="client.internal", timeout=TIMEOUT)

    def _get_socket(self, _host, port, timeout):
        return socket.create_connection((self.address, port), timeout)


def fault(trusted, address, port, name, algorithm):
    context = ssl.create_default_context(cadata=trusted)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where ciphers say which keys a client takes
    context.set_ciphers(CIPHERS[algorithm])
    try:
        if port == 465:
            with socket.create_connection((address, port), TIMEOUT) as line:
                context.wrap_socket(line, server_hostname=name).close()
        else:
            with _Session(address, port, name) as session:
                session.starttls(context=context)
    except (OSError, smtplib.SMTPException) as error:
        return f"{name} ({address}) port {port} {algorithm}: {error}"
    return None


def main():
    asked = json.load(sys.stdin)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda place: fault(asked["trusted"], *place), asked["places"])
        json.dump(list(found), sys.stdout)


if __name__ == "__main__":
    main()
