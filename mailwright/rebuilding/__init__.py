"""Putting a lost machine together again: what is there of it, and what shuts the old one out."""
