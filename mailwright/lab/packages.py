"""The way to packages: an HTTP proxy that reaches the Debian archive and nothing else, and remembers.

It runs as a process of its own on the controller, bound to a lab's bridge address, and is written with
the standard library alone so that it can: `python packages.py --listen ADDRESS --cache DIRECTORY
--archive URL...`. Labs share the cache directory: a file gets its name only when it is whole, and files
that have a name never change (they are in `pool/` or named by their hash).
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PORT = 3144
CHUNK = 1 << 16
TIMEOUT = 30


class PackageProxy(ThreadingHTTPServer):
    """Serves the files below `archives` (their addresses as this machine reaches them)."""

    daemon_threads = True
    request_queue_size = 128  # a whole fleet asks at once

    def __init__(self, listen: tuple[str, int], cache: Path, archives: Sequence[str]) -> None:
        """Bind at once; `serve_forever` answers."""
        super().__init__(listen, _Handler)
        self.cache = cache
        self._archives = [a.rstrip("/") + "/" for a in archives]
        self._locks: dict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._opener = urllib.request.build_opener()

    def source(self, url: str) -> str | None:
        """Where to fetch what a host asked for; `None`: not in the archive.

        Hosts ask for `http://` always; the machine's own archive may be an `https://` one.
        """
        path = url.partition("://")[2]
        for archive in self._archives:
            if path.startswith(archive.partition("://")[2]) and ".." not in path.split("/"):
                return archive.partition("://")[0] + "://" + path
        return None

    def place(self, url: str) -> Path | None:
        """Where a file is kept; `None` for those that change, such as InRelease."""
        parts = urlsplit(url)
        if "/pool/" in parts.path or "/by-hash/" in parts.path:
            return self.cache / parts.netloc / parts.path.lstrip("/")
        return None

    @contextmanager
    def alone(self, place: Path) -> Iterator[None]:
        """One download of a file at a time; the others find it finished."""
        with self._locks[place]:
            yield

    def fetch(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Ask the archive; an error it answers with is an answer too."""
        try:
            answer = self._opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)  # noqa: S310 - an address of the archive
        except urllib.error.HTTPError as error:
            answer = error
        return answer  # type: ignore[no-any-return]


class _Handler(BaseHTTPRequestHandler):
    server: PackageProxy
    protocol_version = "HTTP/1.1"
    timeout = 120

    def do_GET(self) -> None:
        url = self.server.source(self.path)
        if url is None:
            self.send_error(HTTPStatus.FORBIDDEN, "not in this machine's Debian archive")
            return
        place = self.server.place(url)
        if place is None:
            self._pass_on(url)
        elif not place.exists():
            with self.server.alone(place):
                if not place.exists():
                    self._pass_on(url, place)
                    return
            self._send_kept(place)
        else:
            self._send_kept(place)

    def _send_kept(self, place: Path) -> None:
        with place.open("rb") as file:
            self._begin(HTTPStatus.OK, os.fstat(file.fileno()).st_size)
            shutil.copyfileobj(file, self.wfile, CHUNK)

    def _pass_on(self, url: str, place: Path | None = None) -> None:
        """Send what the archive answers while it comes, and keep a whole file if it has a `place`."""
        kept = ("If-Modified-Since", "Cache-Control")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        try:
            answer = self.server.fetch(url, headers)
        except OSError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, f"the archive does not answer: {type(error).__name__}")
            return
        with answer:
            length = int(answer.headers.get("Content-Length") or -1)
            self._begin(answer.status, length, answer.headers.get("Last-Modified"))
            if answer.status == HTTPStatus.OK and place is not None:
                self._keep(answer, place, length)
            elif answer.status != HTTPStatus.NOT_MODIFIED:
                shutil.copyfileobj(answer, self.wfile, CHUNK)

    def _begin(self, status: int, length: int, modified: str | None = None) -> None:
        self.send_response(status)
        if length >= 0:
            self.send_header("Content-Length", str(length))
        elif status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Connection", "close")
        if modified:
            self.send_header("Last-Modified", modified)
        self.end_headers()

    def _keep(self, answer: http.client.HTTPResponse, place: Path, length: int) -> None:
        """Tee to the host and to the cache; a host that hangs up does not stop the download."""
        place.parent.mkdir(parents=True, exist_ok=True)
        listening, size = True, 0
        handle, half = tempfile.mkstemp(prefix=".half-", dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                while chunk := answer.read(CHUNK):
                    size += len(chunk)
                    file.write(chunk)
                    listening = listening and self._said(chunk)
            if length in (-1, size):
                Path(half).replace(place)
            else:
                self.close_connection = True
        finally:
            Path(half).unlink(missing_ok=True)

    def _said(self, chunk: bytes) -> bool:
        try:
            self.wfile.write(chunk)
        except OSError:
            self.close_connection = True
            return False
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Only errors are worth a line."""

    def log_error(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        super().log_message(format, *args)


@contextmanager
def serving(cache: Path, archives: Sequence[str]) -> Iterator[str]:
    """A proxy in this process, on the loopback, for as long as the block lasts; gives its URL."""
    server = PackageProxy(("127.0.0.1", 0), cache, archives)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _main() -> None:
    parser = argparse.ArgumentParser(description="A caching proxy to the Debian archive.")
    parser.add_argument("--listen", required=True, help="the address to bind")
    parser.add_argument("--cache", required=True, type=Path)
    parser.add_argument("--archive", required=True, action="append", help="an address to serve from")
    arguments = parser.parse_args()
    PackageProxy((arguments.listen, PORT), arguments.cache, arguments.archive).serve_forever()


if __name__ == "__main__":
    _main()
