"""Text that machines said, for operators to read: nothing in it moves a cursor or turns around. Pure."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """Spell out what would be invisible, or would turn the text beside it around.

    Control characters, half surrogates, and format characters such as those of bidirectional text, with
    which a machine could make an operator read another command than the one that is copied. Lines and
    tabulators stay.
    """
    return "".join(map(_spelled, text.replace("\r\n", "\n")))


def _spelled(character: str) -> str:
    shown = character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return character if shown else character.encode("unicode_escape").decode()
