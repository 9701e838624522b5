"""Pins what keepalived's check of HAProxy takes for an answer, on a socket of the test's own."""

from __future__ import annotations

import socket
import subprocess
import threading

import pytest

from mailwright.render import render


@pytest.fixture
def alive(tmp_path):
    """Returns a function: what HAProxy does with a connection (none: it is not there) to status and words."""
    place = tmp_path / "admin.sock"
    program = tmp_path / "alive"
    program.write_bytes(render("haproxy/alive.pl.j2", socket=str(place)))

    def check(serve=None):
        with socket.socket(socket.AF_UNIX) as listener:
            if serve:
                listener.bind(str(place))
                listener.listen()
                threading.Thread(target=serve, args=(listener,), daemon=True).start()
            done = subprocess.run(
                ["perl", str(program)], capture_output=True, text=True, check=False, timeout=30
            )
        place.unlink(missing_ok=True)
        return done.returncode, done.stderr.partition(str(place))[2].strip(": \n")

    return check


def answering(*parts):
    def serve(listener):
        channel, _ = listener.accept()
        with channel:
            asked = channel.recv(100)
            for part in parts:
                channel.sendall(part if asked == b"show info\n" else b"Unknown command\n")

    return serve


def test_an_haproxy_that_answers_is_alive(alive):
    assert alive(answering(b"Name: HAProxy\nVersion: 3.0\n", b"Uptime_sec: 1\n\n")) == (0, "")


def test_one_that_is_not_there_is_not(alive):
    assert alive() == (1, "No such file or directory")


def test_one_that_takes_the_connection_and_stands_still_is_not(alive):
    over = threading.Event()
    try:
        assert alive(lambda _: over.wait(20)) == (1, "nothing within a second")
    finally:
        over.set()


def test_one_that_begins_an_answer_and_stands_still_is_not(alive):
    over = threading.Event()

    def serve(listener):
        channel, _ = listener.accept()
        with channel:
            channel.sendall(b"Name: HAProxy\n")
            over.wait(20)

    try:
        assert alive(serve) == (1, "nothing within a second")
    finally:
        over.set()


@pytest.mark.parametrize("parts", [(), (b"Permission denied\n",)])
def test_an_answer_without_haproxy_s_name_is_none(alive, parts):
    assert alive(answering(*parts)) == (1, "what does is no HAProxy")
