"""The keeper of backups: makes repositories, says whose keys open them, prunes and checks.

It speaks to restic and the file system, with Python's standard library alone.
"""
