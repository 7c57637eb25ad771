"""The Chat Completions API."""

from ossia.server.chat_completions.routes import routes

__all__ = ["routes"]
