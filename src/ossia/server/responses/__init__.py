"""The Responses API: a turn's events as OpenAI's Response object and the stream that builds it."""

from ossia.server.responses.background import settle_unfinished
from ossia.server.responses.routes import routes

__all__ = ["routes", "settle_unfinished"]
