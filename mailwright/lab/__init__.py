"""A real fleet on this machine, and the world that judges it. See docs/lab.md."""

from mailwright.lab.host import LabHost
from mailwright.lab.lab import Lab
from mailwright.lab.mailbox import Message

__all__ = ["Lab", "LabHost", "Message"]
