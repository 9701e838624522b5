"""A door between a program and its provider that closes at a chosen write: the moment to kill the program."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Gate:
    """Forwards TCP to `target`. At write number `stop` either the question or the answer is kept."""

    target: tuple[str, int]
    is_write: Callable[[bytes], bool]
    """Whether what a client sends begins a write."""
    stop: int | None = None
    answered: bool = False
    """Whether the provider has taken that write, and only its answer is kept."""
    writes: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close_at(self, stop: int | None, *, answered: bool = False) -> None:
        """From now on, count anew; `None` keeps the door open."""
        with self.lock:
            self.stop, self.answered, self.writes = stop, answered, 0
            self.reached.clear()

    def serve(self, line: socket.socket) -> None:
        with line, socket.create_connection(self.target) as beyond:
            kept = threading.Event()
            back = threading.Thread(target=self._answers, args=(beyond, line, kept), daemon=True)
            back.start()
            while data := _received(line):
                if self.is_write(data) and self._closes():
                    if not self.answered:
                        self.reached.set()
                        continue
                    kept.set()
                beyond.sendall(data)

    def _closes(self) -> bool:
        with self.lock:
            self.writes += 1
            return self.writes == self.stop

    def _answers(self, beyond: socket.socket, line: socket.socket, kept: threading.Event) -> None:
        while data := _received(beyond):
            if kept.is_set():
                self.reached.set()
                continue
            with suppress(OSError):
                line.sendall(data)
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(65536)
    except OSError:
        return b""


@contextmanager
def gate(
    target: tuple[str, int], is_write: Callable[[bytes], bool], listen: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[tuple[Gate, int]]:
    """The gate, and the port it listens on."""
    made = Gate(target, is_write)
    with socket.create_server(listen) as door:

        def accept() -> None:
            with suppress(OSError):  # the door is closed
                while True:
                    line, _ = door.accept()
                    threading.Thread(target=made.serve, args=(line,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield made, door.getsockname()[1]
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()
