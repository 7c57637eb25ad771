"""HTTP connections, limits and authentication."""
