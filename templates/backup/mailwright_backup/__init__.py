"""Backups of this machine, made and brought back on the machine itself.

Debian's python3 and restic(1) are all it needs. A timer starts it, and an operator; `mailwright-backup
--help` says how. What is to be backed up, and where to, a deploy has written down (`wanted`).
"""
