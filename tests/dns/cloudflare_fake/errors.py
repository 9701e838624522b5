"""Refusals in Cloudflare's own words and numbers.

The numbers are those that users report with their messages: 81044, 81053, 81054, 81056, 81058 (older
answers: 81057), 9005, 9009, 9021, 9041, 9051, 9101, 9301, 9313, 6003 with 6111 or 6103, 7003, 9109,
10000, 971. Where only the message is known, the number is 1004 alone, "DNS Validation Error".
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ApiError(Exception):
    """What the API answers instead: one error, with others behind it."""

    status: int
    code: int
    message: str
    chain: list[tuple[int, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def envelope(self) -> dict[str, object]:
        first: dict[str, object] = {"code": self.code, "message": self.message}
        if self.chain:
            first["error_chain"] = [{"code": code, "message": message} for code, message in self.chain]
        return {"result": None, "success": False, "errors": [first], "messages": []}


def invalid(code: int, message: str) -> ApiError:
    """A record that is refused for what it says."""
    return ApiError(400, 1004, "DNS Validation Error", [(code, message)])


def clash(code: int, message: str) -> ApiError:
    """A record that is refused for what is there."""
    return ApiError(400, code, message)
