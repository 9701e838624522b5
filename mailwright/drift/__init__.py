"""Drift: what changed on machines and in the DNS since the last apply, and who made that."""
