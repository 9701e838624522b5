"""Probes of an address: what counts as an answer, and how long there was none."""

import asyncio
import json

import pytest

from tests.lab.faithful.prober import greeted, outage


@pytest.mark.parametrize(
    ("said", "there"),
    [(b"220 hello\r\n", True), (b"421 too busy\r\n", False), (b"", False), (None, False)],
    ids=["greets", "is too busy", "closes", "says nothing"],
)
def test_only_a_greeting_counts(said, there):
    async def session(_, writer):
        if said is None:
            await asyncio.sleep(30)
        writer.write(said)
        writer.close()

    async def ask():
        async with await asyncio.start_server(session, "127.0.0.1", 0) as server:
            return await greeted("127.0.0.1", server.sockets[0].getsockname()[1], 0.3)

    assert asyncio.run(ask()) is there


def test_an_outage_is_of_one_address_and_counts_if_it_touches_the_time_asked_for():
    lines = [
        json.dumps(each) for each in (["a", 1], ["b", 1.1], ["a", 1.2], ["b", 4.1], ["a", 1.3], ["a", 9])
    ]
    assert outage(lines, "ab", 1, 9) == pytest.approx(7.7)
    assert outage(lines, "ab", 1.2, 1.25) == pytest.approx(3)


def test_an_address_that_greets_no_more_is_out_until_the_end():
    lines = [json.dumps(each) for each in (["a", 1], ["b", 1.1], ["a", 2], ["a", 5], ["a", 9])]
    assert outage(lines, "ab", 1, 9) == pytest.approx(7.9)
    assert outage(lines, "abc", 1, 9) == 8
