"""One SMTP session of a client (RFC 5321): submission over TLS, with a login (RFC 6409, RFC 4954)."""

import asyncio
import ssl
from base64 import b64encode
from dataclasses import dataclass

LINE = 2**16


@dataclass(frozen=True)
class Target:
    """Where mail is handed in, and how.

    `tls` is "wrapped" (465) or "starttls" (587). Without `ca` (a file of authorities) the certificate is
    nobody's business; with it the chain and `name` are verified. `patience`: seconds for a connection and for
    each reply; RFC 5321 4.5.3.2 gives them minutes, which is long for a test and nothing else.
    """

    addresses: tuple[str, ...]
    port: int
    tls: str
    name: str
    login: str
    password: str
    ca: str | None = None
    patience: float = 15

    @property
    def context(self):
        context = ssl.create_default_context(cafile=self.ca)
        if self.ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Reply:
    """A server's answer: its code and its lines as one."""

    code: int
    text: str


class FailedError(Exception):
    """No answer to go by: at which stage, and why. `code` is 0 unless the server said no by itself."""

    def __init__(self, stage, why, code=0):
        super().__init__(f"{stage}: {why}")
        self.stage, self.why, self.code = stage, why, code


class Session:
    """A connection on which messages can be handed in, one after the other."""

    def __init__(self, target, address):
        self.target, self.address = target, address
        self.carried = 0
        self._reader = self._writer = None

    async def open(self):
        """Connect, encrypt and log in; raises FailedError. The password is never sent in clear."""
        context, name = self.target.context, self.target.name
        wrapped = {"ssl": context, "server_hostname": name} if self.target.tls == "wrapped" else {}
        connected = asyncio.open_connection(self.address, self.target.port, limit=LINE, **wrapped)
        self._reader, self._writer = await self._within(connected, "connect")
        await self._expect(2, "greeting")
        await self._expect(2, "ehlo", "EHLO client.example")
        if self.target.tls == "starttls":
            await self._expect(2, "starttls", "STARTTLS")
            await self._within(self._writer.start_tls(context, server_hostname=name), "tls")
            await self._expect(2, "ehlo", "EHLO client.example")
        token = b64encode(f"\0{self.target.login}\0{self.target.password}".encode()).decode()
        await self._expect(2, "auth", f"AUTH PLAIN {token}")

    async def transact(self, sender, recipient, content, at_content):
        """Hand in one message; returns the answer to it, the first one that refuses or the last.

        `at_content` is called just before the octets go out that end with the final dot: from there on
        the server may have taken the message, whether or not its answer comes (RFC 5321 6.1).
        """
        envelope = (
            ("mail", 2, f"MAIL FROM:<{sender}>"),
            ("rcpt", 2, f"RCPT TO:<{recipient}>"),
            ("data", 3, "DATA"),
        )
        for stage, wanted, line in envelope:
            reply = await self._ask(stage, line)
            if reply.code // 100 != wanted:
                return self._judged(stage, reply, (4, 5))
        at_content()
        stuffed = "\r\n".join(f".{line}" if line[:1] == "." else line for line in content.split("\n"))
        reply = await self._ask("content", f"{stuffed}\r\n.")
        self.carried += 1
        return self._judged("content", reply, (2, 4, 5))

    async def close(self, *, politely=True):
        """End the connection, with a QUIT if the server still listens."""
        if self._writer is None:
            return
        try:
            if politely:
                await self._ask("quit", "QUIT")
        except FailedError:
            pass
        finally:
            self._writer.transport.abort()
            self._writer = None

    @staticmethod
    def _judged(stage, reply, sensible):
        if reply.code // 100 not in sensible:
            raise FailedError(stage, f"unexpected reply {reply.code} {reply.text}")
        return reply

    async def _expect(self, hundreds, stage, line=None):
        reply = await self._ask(stage, line)
        if reply.code // 100 != hundreds:
            raise FailedError(stage, f"{reply.code} {reply.text}", reply.code)

    async def _ask(self, stage, line=None):
        return await self._within(self._exchange(stage, line), stage)

    async def _exchange(self, stage, line):
        if line is not None:
            self._writer.write(f"{line}\r\n".encode())
            await self._writer.drain()
        said = []
        while True:
            octets = await self._reader.readline()
            answer = octets.decode(errors="replace")
            if not answer.endswith("\n"):
                raise FailedError(stage, "closed")
            if not (answer[:3].isdigit() and answer[3:4] in (" ", "-", "\r", "\n")):
                raise FailedError(stage, f"not a reply: {answer.strip()[:80]}")
            said.append(answer[4:].strip())
            if answer[3] != "-":
                return Reply(int(answer[:3]), " ".join(said))

    async def _within(self, act, stage):
        try:
            return await asyncio.wait_for(act, self.target.patience)
        except TimeoutError:
            raise FailedError(stage, f"nothing within {self.target.patience:g} s") from None
        except (OSError, ValueError, EOFError) as error:  # ValueError: a line beyond all limits
            raise FailedError(stage, str(error) or type(error).__name__) from error
