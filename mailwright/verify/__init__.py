"""Verification: what a machine's needs promise, compared with what the machine says of itself."""
