"""Patches: read, matched and written."""
