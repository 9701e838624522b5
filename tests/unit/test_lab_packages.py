"""Pins the package proxy: it fetches what never changes once, the rest each time, and nothing else at all."""

import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mailwright.lab.packages import serving
from mailwright.lab.shell import wait_until


class Archive(ThreadingHTTPServer):
    """An archive of a few files that counts what it is asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/debian"
        self.asked = []
        self.cut = False
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        if self.headers["If-Modified-Since"]:
            self.send_response(304)
            self.end_headers()
            return
        body = self.path.encode() * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.server.cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def archive():
    made = Archive()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def get(archive, tmp_path):
    """Returns a function: a path of the archive, or a whole URL, to what the proxy answers."""
    with serving(tmp_path / "cache", [archive.url]) as proxy:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))

        def ask(path, **headers):
            url = path if "://" in path else archive.url + path
            with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:  # noqa: S310
                return answer.read()

        yield ask


def _status(get, path, **headers):
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(path, **headers)
    return caught.value.code


@pytest.mark.parametrize("path", ["/pool/main/h/hello_1_amd64.deb", "/dists/trixie/by-hash/SHA256/00ff"])
def test_what_never_changes_is_fetched_once(archive, get, path):
    assert get(path) == get(path) == f"/debian{path}".encode() * 1000
    assert archive.asked == [f"/debian{path}"]


def test_a_fleet_that_asks_at_once_causes_one_download(archive, get):
    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(get, ["/pool/p.deb"] * 20))
    assert answers == {b"/debian/pool/p.deb" * 1000}
    assert archive.asked == ["/debian/pool/p.deb"]


def test_what_may_change_is_asked_for_each_time(archive, get):
    get("/dists/trixie/InRelease")
    get("/dists/trixie/InRelease")
    assert len(archive.asked) == 2
    since = {"If-Modified-Since": "Sat, 21 Nov 2026 00:00:00 GMT"}
    assert _status(get, "/dists/trixie/InRelease", **since) == 304


def test_an_error_is_passed_on_and_not_remembered(archive, get):
    assert [_status(get, "/pool/missing.deb") for _ in range(2)] == [404, 404]
    assert len(archive.asked) == 2


def test_half_a_file_is_not_remembered(archive, get, tmp_path):
    archive.cut = True
    with pytest.raises(Exception, match=r"IncompleteRead|expected"):
        get("/pool/p.deb")
    archive.cut = False
    assert get("/pool/p.deb") == b"/debian/pool/p.deb" * 1000
    kept = tmp_path / "cache"
    # The file gets its name when its last reader already has it all.
    wait_until(lambda: [p.name for p in kept.rglob("*") if p.is_file()] == ["p.deb"], "one file is kept")


def test_an_archive_that_is_away_is_a_gateway_error(archive, get):
    archive.shutdown()
    archive.server_close()
    assert _status(get, "/pool/p.deb") == 502


@pytest.mark.parametrize(
    "url", ["http://192.0.2.80/debian/pool/p.deb", "/../etc/passwd", "/pool/../../secret", "/pool/%2e%2e/x"]
)
def test_nothing_but_the_archive_is_reached(archive, get, url):
    if "%2e" in url:  # passed on as it is: it names no other file of ours
        get(url)
        return
    assert _status(get, url) == 403
    assert archive.asked == []
