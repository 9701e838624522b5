"""The one error tree. Only the command line turns these into an exit status."""

from __future__ import annotations


class MailwrightError(Exception):
    """Something the operator can act on; `str()` is the one line they read."""


class FleetError(MailwrightError):
    """The fleet file is wrong. Holds one line per mistake, each `file:line: where: what`."""

    def __init__(self, mistakes: list[str]) -> None:
        """Keep every mistake; an operator mends them in one pass."""
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class SecretError(MailwrightError):
    """A secret is missing, or the file that holds it cannot be opened."""


class MissingSecretError(SecretError):
    """Nobody has set the secret; whatever others there are could be read."""


class NeedsError(MailwrightError):
    """Two roles of one machine need things that exclude each other."""


class ConvergeError(MailwrightError):
    """A machine could not be brought to its desired state, or refused to be."""


class UnknownError(MailwrightError):
    """Nobody can say whether a machine is as it should be: it did not answer, or not with enough."""


class HostKeyError(MailwrightError):
    """A machine shows an SSH host key that is not pinned, or another than the pinned one."""

    def __init__(self, text: str, *, changed: bool = False) -> None:
        """`changed`: another than the pinned one, so that the whole run must stop."""
        super().__init__(text)
        self.changed = changed


class DrainError(MailwrightError):
    """A machine could not be taken out of the traffic, or back into it."""


class DnsError(MailwrightError):
    """A zone could not be read, planned or changed."""


class LabError(MailwrightError):
    """The local fleet could not be built or reached."""
