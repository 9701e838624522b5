"""Bringing machines to their desired state: the part of mailwright that faces pyinfra."""
