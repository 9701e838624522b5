"""Backups from the operator's side: looked at, made, brought back, and tried on a spare machine."""
