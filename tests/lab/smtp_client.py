"""An SMTP client that says exactly what it is told, octet for octet. Run as a program: JSON in, JSON out.

    {"address": "203.0.113.11", "port": 587, "tls": "starttls", "say": ["EHLO client\\r\\n", ...]}

`tls` is "starttls", "wrapped" or absent. Each string of `say` is sent as it stands (one octet a character)
and then one reply is awaited. Prints the replies, the greeting first, each as [code, [lines]]; a connection
that ends or stays silent gives [0, [why]] and nothing after it.

It stands alone, so that it can run in another host's network.
"""

import json
import socket
import ssl
import sys

TIMEOUT = 20


class Conversation:
    """One connection and the replies so far."""

    def __init__(self, address, port, tls):
        self.sock = socket.create_connection((address, port), timeout=TIMEOUT)
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


def talk(address, port, say, tls=None):
    replies = []
    try:
        conversation = Conversation(address, port, tls)
        replies = conversation.replies
        for octets in say:
            conversation.say(octets)
    except (OSError, ValueError) as error:
        replies.append([0, [str(error)]])
    return replies


if __name__ == "__main__":
    json.dump(talk(**json.load(sys.stdin)), sys.stdout)
