"""An SSH server on loopback that shows host keys and lets nobody in."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import paramiko

from mailwright.hostkeys import HostKey


@dataclass
class Sshd:
    """A machine that shows its host keys and lets nobody in."""

    keys: list[paramiko.PKey]
    door: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self):
        return self.door.getsockname()[1]

    def serve(self):
        while True:
            try:
                connection, _ = self.door.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            for key in self.keys:
                transport.add_server_key(key)
            transport.start_server(event=threading.Event(), server=paramiko.ServerInterface())

    def stop(self):
        if self.door.fileno() >= 0:
            self.door.shutdown(socket.SHUT_RDWR)
            self.door.close()


def shown(key):
    return HostKey(key.get_name(), key.get_base64())


@contextmanager
def serving():
    """A server with one key, for as long as the block takes."""
    server = Sshd([paramiko.ECDSAKey.generate()])
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        server.stop()
