"""A client that follows RFC 5321: it hands mail in until it is answered for. JSON in, JSON out.

    {"target": {"addresses": ["198.51.100.100", "2001:db8:100::100"], "port": 465, "tls": "wrapped",
                "name": "smtp.brightpost.example", "login": "shop", "password": "..."},
     "run": "a1b2", "journal": "a1b2.jsonl", "sender": "orders@parcelnote.example",
     "recipient": "ann@mailbox.example", "count": 1000, "connections": 8}

Prints statistics when it is done. SIGTERM: no new messages; those begun are brought to an end first. It needs
nothing but Python, so that it can run in another host's network: `python -m tests.lab.faithful`.
"""

import asyncio
import json
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.faithful.figures import statistics
from tests.lab.faithful.journal import ACCEPTED, DEFERRED, LOST, REFUSED, UNKNOWN, Journal, read
from tests.lab.faithful.session import FailedError, Session, Target

HEADER = "X-Transaction"
"""Each message names itself in it, as it does in Subject and Message-ID."""


@dataclass(frozen=True)
class Order:
    """What a client is to do.

    `count` messages (`None`: until it is told to stop) over `connections` at a time, `per_session` messages a
    session, at most `rate` a second, about `size` octets each. A message is tried again after `first_wait`
    seconds, each time after twice as long up to `longest_wait`, and given up after `give_up` seconds.
    """

    target: Target
    run: str
    journal: str
    sender: str
    recipient: str
    count: int | None = None
    connections: int = 4
    per_session: int = 10
    rate: float | None = None
    size: int = 2000
    first_wait: float = 0.2
    longest_wait: float = 2
    give_up: float = 300

    @classmethod
    def of(cls, words):
        target = words.pop("target")
        return cls(Target(**target | {"addresses": tuple(target["addresses"])}), **words)

    def content(self, key):
        """A message: header and body with lines that begin with a dot."""
        domain = self.sender.rpartition("@")[2]
        header = (
            f"From: <{self.sender}>\nTo: <{self.recipient}>\nSubject: {key}\nMessage-ID: <{key}@{domain}>\n"
        )
        line = ".. nothing accepted is lost while anything fails\n"
        return f"{header}{HEADER}: {key}\n\n{line * (self.size // len(line))}"


class Client:
    """Workers, each with a session and the one message that it hands in until that is answered for."""

    def __init__(self, order):
        self.order = order
        self.journal = Journal(order.journal)
        self.stopped = asyncio.Event()
        self._next, self._began, self._turn = 0, time.monotonic(), 0
        self._random = random.Random()  # noqa: S311 - to spread retries, not to be secret

    async def run(self):
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopped.set)
        async with asyncio.TaskGroup() as group:
            for _ in range(self.order.connections):
                group.create_task(self._work())

    async def _work(self):
        session = None
        while (key := await self._message()) is not None:
            session = await self._deliver(key, session)
            if session and session.carried >= self.order.per_session:
                session = await self._left(session, politely=True)
        await self._left(session, politely=True)

    async def _message(self):
        """The id of the next message when its time has come; `None`: there are no more."""
        number = self._next
        if self.stopped.is_set() or number == self.order.count:
            return None
        self._next += 1
        if self.order.rate:
            await self._pause(self._began + number / self.order.rate - time.monotonic(), self.stopped)
        return None if self.stopped.is_set() else f"{self.order.run}-{number:05}"

    @staticmethod
    async def _pause(seconds, event):
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)

    async def _deliver(self, key, session):
        """Try until the message is answered for; returns the session if it is good for another one."""
        first, wait = time.monotonic(), self.order.first_wait
        while True:
            outcome, session = await self._attempt(key, session)
            if outcome in (ACCEPTED, REFUSED):
                return session
            if time.monotonic() - first > self.order.give_up:
                self.journal.write("given up", id=key)
                return session
            await asyncio.sleep(wait * self._random.uniform(0.5, 1))
            wait = min(2 * wait, self.order.longest_wait)

    async def _attempt(self, key, session):
        """One try; returns its outcome and the session if it outlived it."""
        began, sent = time.time(), []

        def at_content():
            sent.append(key)
            self.journal.write("content", id=key, to=session.address)

        try:
            session = session or await self._connected()
            content = self.order.content(key)
            reply = await session.transact(self.order.sender, self.order.recipient, content, at_content)
        except FailedError as error:
            outcome = UNKNOWN if sent else DEFERRED if error.code else LOST
            self._note(key, session, began, outcome, error.stage, error.code, error.why)
            return outcome, await self._left(session, politely=False)
        outcome = {2: ACCEPTED, 4: DEFERRED, 5: REFUSED}[reply.code // 100]
        self._note(key, session, began, outcome, "content" if sent else "envelope", reply.code, reply.text)
        return outcome, session if outcome == ACCEPTED else await self._left(session, politely=True)

    def _note(self, key, session, began, outcome, stage, code, text):
        to = session.address if session else ""
        self.journal.write(
            "attempt", id=key, to=to, began=began, outcome=outcome, stage=stage, code=code, text=text
        )

    @staticmethod
    async def _left(session, *, politely):
        """End a session if there is one; there is none any more."""
        if session:
            await session.close(politely=politely)

    async def _connected(self):
        """A session at the first address that gives one, whatever the others have (RFC 5321 5.1).

        An address that greets with 5xx is passed over like one that does not answer, as Postfix does
        (postconf(5), smtp_skip_5xx_greeting). Sessions take turns in where they begin, so that both
        families carry mail.
        """
        addresses = self.order.target.addresses
        self._turn += 1
        begin = self._turn % len(addresses)
        failed = None
        for address in addresses[begin:] + addresses[:begin]:
            session = Session(self.order.target, address)
            try:
                await session.open()
            except FailedError as error:
                failed = error
                await session.close(politely=bool(error.code))
            else:
                return session
        raise failed


def main():
    order = Order.of(json.load(sys.stdin))
    asyncio.run(Client(order).run())
    with Path(order.journal).open() as lines:
        json.dump(statistics(read(lines)).plain, sys.stdout)


if __name__ == "__main__":
    main()
