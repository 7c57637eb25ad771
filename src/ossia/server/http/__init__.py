"""Connections, and what guards them."""
