"""An SMTP client that says exactly what it is told, octet for octet. Run as a program: JSON in, JSON out.

    {"address": "203.0.113.11", "port": 587, "tls": "starttls", "say": ["EHLO client\\r\\n", ...]}

`tls` is "starttls", "wrapped" or absent. `proxy` is a header of the PROXY protocol to begin with: client,
its port, server, its port, as ["192.0.2.1", 1024, "203.0.113.11", 25], or [] for none to tell (LOCAL).
Each string of `say` is sent as it stands (one octet a character) and then one reply is awaited. Prints the
replies, the greeting first, each as [code, [lines]]; a connection that ends or stays silent gives
[0, [why]] and nothing after it.

It stands alone, so that it can run in another host's network.
"""

import json
import socket
import ssl
import struct
import sys
from ipaddress import ip_address

TIMEOUT = 20


class Conversation:
    """One connection and the replies so far."""

    def __init__(self, address, port, tls, proxy):
        self.sock = socket.create_connection((address, port), timeout=TIMEOUT)
        if proxy is not None:
            self.sock.sendall(proxy_header(*proxy))
        self.replies = []
        if tls == "wrapped":
            self.encrypt()
        self.file = self.sock.makefile("rb")
        self.hear()
        if tls == "starttls":
            self.say("EHLO client\r\n")
            self.say("STARTTLS\r\n")
            self.encrypt()
            self.file = self.sock.makefile("rb")

    def encrypt(self):
        # Whose certificate it is, is another test's question.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)

    def say(self, octets):
        self.sock.sendall(octets.encode("latin-1"))
        self.hear()

    def hear(self):
        lines = []
        while True:
            line = self.file.readline().decode("latin-1")
            if not line:
                raise ConnectionError("closed")
            lines.append(line[4:].rstrip("\r\n"))
            if line[3:4] != "-":
                self.replies.append([int(line[:3]), lines])
                return


def proxy_header(client=None, client_port=0, server=None, server_port=0):
    """Version 2 of the PROXY protocol: who connects to what, or LOCAL."""
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    if client is None:
        return signature + struct.pack("!BBH", 0x20, 0, 0)
    ends = (
        ip_address(client).packed + ip_address(server).packed + struct.pack("!HH", client_port, server_port)
    )
    return (
        signature
        + struct.pack("!BBH", 0x21, {4: 0x11, 6: 0x21}[ip_address(client).version], len(ends))
        + ends
    )


def talk(address, port, say, tls=None, proxy=None):
    replies = []
    try:
        conversation = Conversation(address, port, tls, proxy)
        replies = conversation.replies
        for octets in say:
            conversation.say(octets)
    except (OSError, ValueError) as error:
        replies.append([0, [str(error)]])
    return replies


if __name__ == "__main__":
    json.dump(talk(**json.load(sys.stdin)), sys.stdout)
