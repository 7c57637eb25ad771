"""The old Completions API."""

from ossia.server.completions.routes import routes

__all__ = ["routes"]
