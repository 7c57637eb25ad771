"""Ollama's discovery routes: enough for its clients to find this server.

Nothing is downloaded.
"""

import hashlib
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ossia import __version__
from ossia.errors import RequestError
from ossia.providers.provider import ServedModel
from ossia.server.api.fields import Form, Identifier, Unused
from ossia.server.api.json_body import Json, documented, json_response, read_form
from ossia.server.api.models import named, public_name
from ossia.server.api.openapi import LINES, answers
from ossia.server.services import Services

OLLAMA_VERSION = "0.20.0"
"""Clients require a minimum; Codex 0.13.4."""
CAPABILITIES = ["completion", "tools", "thinking"]


class ModelQuery(Form):
    """The body of POST /api/show and /api/pull; `name` is the older spelling."""

    model: Identifier | None = None
    name: Identifier | None = None
    stream: bool | None = None
    verbose: Unused[bool] = None
    insecure: Unused[bool] = None

    def requested(self) -> str:
        """The requested model."""
        requested = self.model or self.name
        if requested is None:
            raise RequestError("model is missing; name one", param="model", code="missing_field")
        return requested


def routes(services: Services) -> APIRouter:
    """Create the discovery routes."""
    router = APIRouter(tags=["discovery"])
    started = datetime.fromtimestamp(services.clock(), UTC).isoformat()
    body = documented(ModelQuery)

    @router.get("/api/version", responses=answers("Versions.", ("version",)))
    async def version() -> Response:
        """Return a version of Ollama that clients accept, and ossia's version."""
        return json_response({"version": OLLAMA_VERSION, "ossia": __version__})

    @router.get("/api/tags", responses=answers("What is served.", ("models",)))
    async def tags() -> Response:
        """List the served model."""
        return json_response({"models": [_tag(services.provider.model, started)]})

    @router.post(
        "/api/show",
        openapi_extra=body,
        responses=answers("The model.", ("details", "model_info", "capabilities")),
    )
    async def show(request: Request) -> Response:
        """Return the model's capabilities and context length."""
        query = await read_form(request, ModelQuery)
        model = services.provider.model
        named(query.requested(), model)
        return json_response(_details(model, started))

    @router.post(
        "/api/pull",
        openapi_extra=body,
        responses=answers("It is here.", ("status",), streams=LINES),
    )
    async def pull(request: Request) -> Response:
        """Confirm that the served model is present; others are not downloaded."""
        query = await read_form(request, ModelQuery)
        named(query.requested(), services.provider.model)
        if query.stream is False:
            return json_response({"status": "success"})
        return Response(b'{"status":"success"}\n', media_type="application/x-ndjson")

    return router


def _tag(model: ServedModel, started: str) -> Json:
    name = public_name(model)
    return {
        "name": name,
        "model": name,
        "modified_at": started,
        "size": model.num_bytes,
        "digest": hashlib.sha256(f"{name} {model.fingerprint}".encode()).hexdigest(),
        "details": _form(model),
    }


def _form(model: ServedModel) -> Json:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": "gptoss",
        "families": ["gptoss"],
        "parameter_size": _size(model.num_params),
        "quantization_level": "MXFP4",
    }


def _size(num_params: int) -> str:
    """Format a number of parameters: 20.9B, 3.1M."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if num_params >= size:
            return f"{num_params / size:.1f}{unit}"
    return str(num_params)


def _details(model: ServedModel, started: str) -> Json:
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _form(model),
        "model_info": {
            "general.architecture": "gptoss",
            "general.basename": public_name(model),
            "general.parameter_count": model.num_params,
            "gptoss.context_length": model.context_length,
        },
        "capabilities": CAPABILITIES,
        "modified_at": started,
    }
