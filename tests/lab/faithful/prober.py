"""Is the service there for somebody who comes now? Asked ten times a second, at each address.

    {"addresses": ["198.51.100.100"], "port": 587, "every": 0.1, "patience": 1, "journal": "probes.jsonl"}

A probe is a connection of its own that waits for the greeting; one is sent whether or not those before were
answered. The journal has a line of JSON for each greeting: [address, seconds since the epoch]. Runs until
SIGTERM. A client with a session at a balancer that dies learns of it later: that depends on its own patience.
"""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from itertools import pairwise


async def greeted(address, port, patience):
    """Whether a greeting comes within `patience` seconds."""
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(address, port)
            return (await reader.readline()).startswith(b"220 ")
    except OSError:  # TimeoutError is one of them
        return False
    finally:
        if writer:
            writer.write(b"QUIT\r\n")
            writer.close()


async def probe(order, journal, address):
    if await greeted(address, order["port"], order["patience"]):
        os.write(journal, f"{json.dumps([address, time.time()])}\n".encode())


async def run(order):
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    journal = os.open(order["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    async with asyncio.TaskGroup() as group:
        while not stopped.is_set():
            for address in order["addresses"]:
                group.create_task(probe(order, journal, address))
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), order["every"])


def outage(lines, addresses, begin, end):
    """The longest time, in seconds, that one of these addresses greeted nobody between `begin` and `end`.

    One that did not greet any more counts until `end`.
    """
    times = {address: [] for address in addresses}
    for line in lines:
        address, at = json.loads(line)
        times[address].append(at)
    return max(gap for each in times.values() for gap in _gaps(sorted(each), begin, end))


def _gaps(times, begin, end):
    before = [] if times and times[0] <= begin else [begin]
    after = [] if times and times[-1] >= end else [end]
    return [b - a for a, b in pairwise([*before, *times, *after]) if b >= begin and a <= end]


if __name__ == "__main__":
    asyncio.run(run(json.load(sys.stdin)))
